"""The paper's figure, one file or folder per box: what is kept and what is reported.

What does not belong here: any decision about data, which its twin in `curation/`, `reward/` or
`benchmarks/` makes, and any client, which comes in as a resource. Files that stand directly in
this folder are box 2, box 3, and what several boxes share.
"""
