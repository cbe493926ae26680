"""Ids as numbers that compare fast; rows of many shards, each id once: the first one stays.

Ids are hashes, so nearly every row is alone with the first eight bytes of its id. These are all
that is held of it; whole ids are compared only of rows that share them with another.

A set has no order of its own, for files move and rows are appended: whoever identifies one, trains
on it or draws from it takes it in the order of its ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.pairs.record import ID_BYTES, PreferencePair

if TYPE_CHECKING:  # Importing pandas costs as much as filtering a million rows.
    import pandas as pd


def id_keys(ids: pa.ChunkedArray) -> np.ndarray:
    """(n, 2) uint64: 16-byte ids as numbers. Raises ValueError when an id is null."""
    array = ids.combine_chunks()
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    if storage.null_count:
        raise ValueError(f"{storage.null_count} ids are null: every pair needs its id")
    binary = pc.cast(storage, pa.binary(16))
    raw = np.frombuffer(binary.buffers()[1] or b"", dtype=np.uint64)
    return raw.reshape(-1, 2)[binary.offset : binary.offset + len(binary)]


def in_id_order(pairs: Iterable[PreferencePair]) -> list[PreferencePair]:
    """The pairs by content_id, and twins under opposite labels by pair_id.

    The content comes first so that a pair keeps its place when its label turns.
    """
    return sorted(pairs, key=lambda pair: (pair.content_id, pair.pair_id))


def rows_in_id_order(pairs: pd.DataFrame) -> pd.DataFrame:
    """`in_id_order` of a frame with content_id and pair_id."""
    return pairs.sort_values(["content_id", "pair_id"], kind="stable")


def rows_by_content(pairs: pa.Table) -> np.ndarray:
    """int64 (m,): rows of a table in the order of `rows_in_id_order`, each content once.

    What a pool of millions costs as a frame of `bytes`, it costs here in numbers: some 60 bytes a
    pair while they are sorted. Needs content_id and pair_id.
    """
    # Ids compare byte by byte, numbers do so when their first byte is the one that weighs most.
    words = np.column_stack(
        [id_keys(pairs.column(name)).byteswap() for name in ("content_id", "pair_id")]
    )
    order = np.lexsort(words.T[::-1])
    contents = words[order, :2]
    is_first = np.append(True, (contents[1:] != contents[:-1]).any(axis=1))[: len(order)]
    return np.asarray(order[is_first])


def first_occurrences(keys: np.ndarray) -> np.ndarray:
    """(n,) int64: position of the first row with the same key, for keys (n, k) uint64.

    Ids are hashes, so a row whose first key is unique is unique: only the others are compared
    in full.
    """
    first = np.arange(len(keys))
    leading = np.ascontiguousarray(keys[:, 0])
    by_leading = np.argsort(leading)
    ranked = leading[by_leading]
    equals_next = ranked[1:] == ranked[:-1]
    in_group = np.zeros(len(keys), dtype=bool)
    in_group[:-1] |= equals_next
    in_group[1:] |= equals_next
    rows = np.sort(by_leading[in_group])
    if len(rows):
        # lexsort is stable: the first row of a run of equal keys is their first occurrence.
        rows = rows[np.lexsort(keys[rows].T)]
        ranked = keys[rows]
        starts_run = np.append(True, (ranked[1:] != ranked[:-1]).any(axis=1))
        first[rows] = rows[starts_run][np.cumsum(starts_run) - 1]
    return first


def repeated_keys(shards: Iterable[pa.Table], id_column: str) -> np.ndarray:
    """uint64, ascending: first keys of ids that occur in several rows."""
    keys = [id_keys(table.column(id_column))[:, 0].copy() for table in shards]
    ranked = np.sort(np.concatenate(keys)) if keys else np.array([], dtype=np.uint64)
    return np.unique(ranked[1:][ranked[1:] == ranked[:-1]])


def first_of_each(
    shards: Iterable[pa.Table], repeated: np.ndarray, id_column: str
) -> Iterator[pa.Table]:
    """The shards without rows whose id an earlier row has; as many shards as there were.

    Args:
        shards: tables with the id column.
        repeated: from `repeated_keys` of the same shards.
        id_column: name of a column of 16-byte ids.
    """
    seen: set[bytes] = set()
    for table in shards:
        first = np.ones(table.num_rows, dtype=bool)
        places = np.flatnonzero(among(id_keys(table.column(id_column))[:, 0], repeated))
        ids = table.column(id_column).combine_chunks().cast(pa.binary(ID_BYTES))
        for place, each in zip(places, ids.take(pa.array(places)).to_pylist(), strict=True):
            first[place] = each not in seen
            seen.add(each)
        yield table.filter(pa.array(first))


def among(keys: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """Bool (n,): which keys are in `ranked`; both uint64, the latter ascending."""
    if not len(ranked):
        return np.zeros(len(keys), dtype=bool)
    places = np.minimum(np.searchsorted(ranked, keys), len(ranked) - 1)
    return np.asarray(ranked[places] == keys)
