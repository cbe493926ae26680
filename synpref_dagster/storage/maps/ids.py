"""The ids of a pool: what costly work on its shards is identified by."""

import pyarrow as pa

from synpref_dagster.storage import DatasetRef, map_shards


def only_ids(table: pa.Table) -> pa.Table:
    """The column pair_id: what costly work on a shard is identified by.

    A pair that becomes risky or changes stages changes its row in a pool, but not its text: with
    the ids in between, it is not scored, embedded or labelled again.
    """
    return table.select(["pair_id"])


def ids_of(pool: DatasetRef, *, uri: str) -> DatasetRef:
    """`only_ids` of every shard of a pool, kept at `uri`."""
    return map_shards(only_ids, pool, uri=uri, version="1").ref
