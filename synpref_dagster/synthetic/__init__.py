"""The embedded default: a synthetic world with known truth, people and small benchmarks.

What does not belong here: readers for what it writes, since its files go through `sources/` and
`benchmarks/` like any others. The sealed truth is opened by `resources/truth.py`, for reports
and tests only.
"""
