"""Release folders of models and data: model card, data card, facts, licence terms, manifest.

What does not belong here: the decision to release or promote (`assets/release/`,
`benchmarks/gates.py`), what a licence's name restricts (`sources/licences.py`) and which pairs
are released (`curation/release/`).
"""
