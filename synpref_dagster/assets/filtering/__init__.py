"""Box 5, stage 2: rewards, relabelling, the decision on each pair, recycling (Section 3.3).

What does not belong here: the consistency rule, the flip guard and cross-fitting, which are in
`curation/filtering/`, and scoring, which is in `reward/`.
"""
