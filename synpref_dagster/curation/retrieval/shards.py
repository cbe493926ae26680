"""Attributes and vectors of one shard of the unverified pool, for `map_shards`."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.retrieval.embedder import TfidfSvdEmbedder
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS, embedding_text
from synpref_dagster.pairs.record import id_array
from synpref_dagster.pairs.texts import shard_pairs


def embed_shard(table: pa.Table, texts: pa.Table, *, folder: str) -> pa.Table:
    """A vector of (x, a) for every pair of a shard.

    Args:
        table: `LABEL_SCHEMA`.
        texts: the raw shard that the pairs come from.
        folder: of the embedder, named by what it was fitted on and how.
    """
    pairs = shard_pairs(table, texts)
    rows = table.select(list(ATTRIBUTE_COLUMNS)).to_pylist()
    embedded = [embedding_text(pair, row) for pair, row in zip(pairs, rows, strict=True)]
    vectors = _embedder(folder).embed(embedded)
    return vector_table([pair.pair_id for pair in pairs], vectors)


def vector_table(ids: list[bytes], vectors: np.ndarray) -> pa.Table:
    """pair_id and vector (fixed-size list of float32) as a table."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.table(
        {
            "pair_id": id_array(ids),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


@lru_cache(maxsize=1)
def _embedder(folder: str) -> TfidfSvdEmbedder:
    return TfidfSvdEmbedder.load(Path(folder))
