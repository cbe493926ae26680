"""Public row formats, one file per family: how rows are recognised and become pairs.

What does not belong here: opening files (`sources/files/`), the order in which formats are
tried (`sources/registry.py`) and the list of public data sets (`sources/public_sets.py`). What
all formats share is in `fields`; `own_suites` reads benchmarks of one's own, which are no source.
"""
