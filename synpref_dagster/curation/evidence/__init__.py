"""Box 7: how right labels are, which claims held, and the report as data.

What does not belong here: anything that a step of the curation reads: evidence compares with a
truth and feeds nothing back. Intervals are in `pairs/accuracy.py`, pages and plots in
`publishing/`.
"""
