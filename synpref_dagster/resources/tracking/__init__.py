"""MLflow: campaign and step runs, what a step logs, registered models, orphaned runs.

What does not belong here: metrics and how they are computed, because the asset hands them over
as numbers. When a version becomes champion is decided by `benchmarks/gates.py`.
"""
