"""MLflow: runs of campaigns and steps, registered models, and what waits while it is away.

`runs` is the resource, `step` what a step may log: records. `outbox` brings them by `delivery`, or
keeps them in `spool` while `away` says that nobody answers.

What does not belong here: metrics and how they are computed, because the asset hands them over
as numbers. When a version becomes champion is decided by `benchmarks/gates.py`.
"""
