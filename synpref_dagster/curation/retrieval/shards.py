"""Attributes and vectors of one shard of the unverified pool, for `map_shards`."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS
from synpref_dagster.pairs.record import PreferencePair, id_array
from synpref_dagster.pairs.texts import shard_pairs


def embed_shard(
    table: pa.Table,
    texts: pa.Table,
    *,
    embed: Callable[[Sequence[PreferencePair], Sequence[Mapping[str, str]]], np.ndarray],
) -> pa.Table:
    """A vector of (x, a) for every pair of a shard.

    Args:
        table: `LABEL_SCHEMA`.
        texts: the raw shard that the pairs come from.
        embed: gives pairs their vectors, by their attributes.
    """
    pairs = shard_pairs(table, texts)
    vectors = embed(pairs, table.select(list(ATTRIBUTE_COLUMNS)).to_pylist())
    return vector_table([pair.pair_id for pair in pairs], vectors)


def meaning_shard(
    table: pa.Table,
    texts: pa.Table,
    *,
    embed: Callable[[Sequence[PreferencePair]], np.ndarray],
) -> pa.Table:
    """A vector of prompt and responses for every pair of a shard.

    Args:
        table: with pair_id.
        texts: the raw shard that the pairs come from.
        embed: gives pairs their vectors.
    """
    pairs = shard_pairs(table, texts)
    return vector_table([pair.pair_id for pair in pairs], embed(pairs))


def vector_table(ids: list[bytes], vectors: np.ndarray) -> pa.Table:
    """pair_id and vector (fixed-size list of float32) as a table."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.table(
        {
            "pair_id": id_array(ids),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )
