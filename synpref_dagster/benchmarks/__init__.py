"""The seven benchmarks as protocols over a score table, leaderboard and gates (Section 4.2).

A further published benchmark is one row of `plugins`; one of one's own is read by `custom`.

What does not belong here: models and judges: candidates are scored once by the caller
(`reward/shards.py`, `judges/`) and each figure is a pure function of items and scores.
Decontamination against benchmarks is in `curation/contamination/`.
"""
