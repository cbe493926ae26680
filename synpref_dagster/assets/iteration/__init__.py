"""Box 4, the iterations of stage 1: train, retrieve around errors, label (Section 3.2).

What does not belong here: the rules of a step: retrieval is in `curation/retrieval/`, labelling
in `curation/judging/`, gold and silver in `curation/verification/`, training in `reward/`. Box
3, the seed, is `assets/seed.py`.
"""
