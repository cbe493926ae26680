"""Box 6, the releases: final models, benchmarks, leaderboard, curated data (Section 4.1).

What does not belong here: what is written into a release folder or onto a card
(`publishing/release/`), how a benchmark is measured (`benchmarks/`) and how a model trains
(`reward/`).
"""
