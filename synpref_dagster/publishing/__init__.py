"""What leaves the project: plots, the report page, release folders with their cards and terms.

What does not belong here: figures that are computed only to be shown: they come in as plain
data from `curation/evidence/` or `benchmarks/`. Uploading to the hub is in
`definitions/push_to_hub.py`.
"""
