"""The forward of packed sequences with a shared prefix, equal to the padded reference.

What does not belong here: losses and steps (`reward/training/`), text to token ids
(`reward/encoding.py`) and scoring a data set (`reward/scoring.py`). A faster path is used only
after it agreed with `padded`.
"""
