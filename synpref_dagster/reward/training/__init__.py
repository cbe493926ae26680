"""Bradley-Terry training with exact resume, in one process or several (Section 4.1).

What does not belong here: which pairs a model trains on (`curation/release/training_sets.py`),
starting `torchrun` from Dagster (`resources/torchrun/`), and logging, which callbacks do.
"""
