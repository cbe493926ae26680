"""Mapping a function over the shards of a data set, resumable at every one, and where it runs.

`shards` one map; `variants` several maps in one pass; `apart` a map in which some rows of a
shard are a task of their own, `grown` one in which those are that a shard gained later; `tasks`
and `known_tasks` what maps are made of and remember; `ids` what costly work is identified by;
`executors` this process or a pool; `ray` a cluster.

What does not belong here: the functions that are mapped, which are a rule or stand in the
`shards.py` beside it, and the choice of an executor (`resources/executors.py`).
"""
