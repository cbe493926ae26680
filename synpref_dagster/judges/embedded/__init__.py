"""Stand-ins for LLMs that need no network: the exemplar judge and attribute classifier.

What does not belong here: anything that calls an endpoint (`judges/endpoint.py`) or knows the
world's truth (`synthetic/`). The exemplar judge learns only from the exemplars that it is
shown.
"""
