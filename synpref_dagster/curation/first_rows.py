"""Rows of many shards, each id once: the first one stays.

Ids are hashes, so nearly every row is alone with the first eight bytes of its id. These are all
that is held of it; whole ids are compared only of rows that share them with another.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.cleaning import id_keys
from synpref_dagster.curation.pairs import ID_BYTES


def repeated_words(shards: Iterable[pa.Table], id_column: str) -> np.ndarray:
    """uint64, ascending: first words of ids that occur in several rows."""
    words = [id_keys(table.column(id_column))[:, 0].copy() for table in shards]
    ranked = np.sort(np.concatenate(words)) if words else np.array([], dtype=np.uint64)
    return np.unique(ranked[1:][ranked[1:] == ranked[:-1]])


def first_of_each(
    shards: Iterable[pa.Table], repeated: np.ndarray, id_column: str
) -> Iterator[pa.Table]:
    """The shards without rows whose id an earlier row has; as many shards as there were.

    Args:
        shards: tables with the id column.
        repeated: from `repeated_words` of the same shards.
        id_column: name of a column of 16-byte ids.
    """
    seen: set[bytes] = set()
    for table in shards:
        first = np.ones(table.num_rows, dtype=bool)
        places = np.flatnonzero(_among(id_keys(table.column(id_column))[:, 0], repeated))
        ids = table.column(id_column).combine_chunks().cast(pa.binary(ID_BYTES))
        for place, each in zip(places, ids.take(pa.array(places)).to_pylist(), strict=True):
            first[place] = each not in seen
            seen.add(each)
        yield table.filter(pa.array(first))


def _among(words: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    if not len(ranked):
        return np.zeros(len(words), dtype=bool)
    places = np.minimum(np.searchsorted(ranked, words), len(ranked) - 1)
    return np.asarray(ranked[places] == words)
