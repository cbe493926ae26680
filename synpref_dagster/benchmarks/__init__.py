"""The seven benchmarks as protocols over a score table, leaderboard and gates (Section 4.2).

What does not belong here: models and judges: candidates are scored once by the caller
(`reward/shards.py`, `judges/`) and each figure is a pure function of items and scores.
Decontamination against benchmarks is in `curation/contamination/`.
"""
