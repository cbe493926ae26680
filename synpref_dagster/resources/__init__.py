"""Dagster resources and IO managers: they build clients and hand them down as plain callables.

What does not belong here: anything that works without Dagster. A client of a judge is in
`judges/`, a reader in `sources/`, a rule in `curation/`, a plot or a card in `publishing/`.
"""
