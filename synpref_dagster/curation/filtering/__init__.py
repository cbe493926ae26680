"""Box 5, the consistency filter: witnesses, cross-fitting, flip guard, decision (Section 3.3).

What does not belong here: training and scoring the models that bear witness (`reward/`, called
by `assets/filtering/rewards.py`), judges' labels (`curation/judging/`), and what the final
models train on (`curation/release/`).
"""
