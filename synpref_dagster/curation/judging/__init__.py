"""Boxes 3 to 5: prompts, replies, verdicts, votes, labels, weighed judges (Section 3.2).

What does not belong here: sending a request, caching or paying for a reply (`judges/`), and
finding the exemplars that a judge is shown (`curation/retrieval/`).
"""
