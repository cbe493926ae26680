"""Boxes 3 and 4: whom people verify, their corrections, gold and silver (Section 3.2).

What does not belong here: asking people and keeping their answers (`people/`), and the labels
of judges (`curation/judging/`), which become silver here.
"""
