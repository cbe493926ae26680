"""What a terminal sees: the command `synpref`, live progress, refusals, outcome and report.

What does not belong here: any step of a run, which lives in `assets/` and the floors below. A
command calls the same functions that Dagster runs.
"""
