"""The method as pure rules, one folder per topic of the paper (Sections 3.2 and 3.3).

What does not belong here: Dagster, MLflow, torch, the network and the clock. Models and judges
come in as plain callables, randomness and time as arguments. Only `shards.py`, files named
`*_shards.py` and `key_index.py` may import `storage`: they map a rule over data sets.
"""
