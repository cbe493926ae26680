"""Public preference data in, pairs out: reading, the registry of formats, licences, votes.

What does not belong here: cleaning and duplicates (`curation/pool/`), identities and the check
of a record (`pairs/`), and the files that a profile names (`resources/sources.py`). A row
becomes a pair, is quarantined with a reason, or lies outside the selected part.
"""
