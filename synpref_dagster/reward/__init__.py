"""The engine: backbones, encoding, checkpoints, and scoring with reward models (Section 4.1).

What does not belong here: Dagster, MLflow, and any choice of pairs (`curation/`). Its siblings
`benchmarks/` and `sources/` are not imported: pairs and texts come in, rewards go out.
"""
