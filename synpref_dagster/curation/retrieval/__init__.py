"""Boxes 2 and 4: vectors of (x, a), and the two retrievals by similarity (Section 3.2).

What does not belong here: what is asked about the retrieved pairs (`curation/judging/`,
`curation/verification/`), and reward models, whose confidence comes in as a column.
"""
