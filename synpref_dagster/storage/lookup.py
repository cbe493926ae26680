"""Single rows of a data set, found by id: the id column is scanned, and only what is found read."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.storage.arrow_types import stored_as
from synpref_dagster.storage.dataset import iter_tables, read_shard
from synpref_dagster.storage.manifest import read_manifest
from synpref_dagster.storage.refs import DatasetRef

ID_DIGITS = 32
"""Hexadecimal digits of a 16-byte id."""


def find_rows(
    ref: DatasetRef,
    wanted: Iterable[bytes | str],
    id_column: str = "pair_id",
    *,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """All rows whose id is wanted, in order; `select_rows` gives only the first one per id.

    Shard by shard, and only the id column of shards without a wanted row is read.

    Args:
        ref: what to read.
        wanted: ids as they are stored: 16 bytes, or text where the column holds text.
        id_column: name of the id column.
        columns: what to read of the rows found; None takes all.
    """
    manifest = read_manifest(ref)
    stored = stored_as(manifest.schema.field(id_column).type)
    value_set = pa.array(list(wanted), stored)
    empty = manifest.schema.empty_table()
    found = [empty if columns is None else empty.select(columns)]
    for shard in manifest.shards:
        ids = read_shard(ref.uri, shard, [id_column])[id_column].cast(stored)
        is_wanted = pc.is_in(ids, value_set=value_set)
        if pc.any(is_wanted).as_py():
            found.append(read_shard(ref.uri, shard, columns).filter(is_wanted))
    return pa.concat_tables(found)


def lowest_ids(ref: DatasetRef, num: int, id_column: str = "pair_id") -> list[bytes]:
    """The lowest 16-byte ids in ascending order, at most `num`; ids are hashes, so a fair draw."""
    lowest = pa.array([], pa.binary())
    for table in iter_tables(ref, [id_column]):
        column = table.column(id_column).combine_chunks()
        stored = column.cast(stored_as(column.type)).cast(pa.binary())
        if len(lowest) == num and num:
            stored = stored.filter(pc.less(stored, lowest[-1]))
        both = pa.concat_arrays([lowest, stored])
        lowest = both.take(pc.array_sort_indices(both)[:num])
    return list(lowest.to_pylist())


def ids_with_prefix(
    ref: DatasetRef, prefix: str, id_column: str = "pair_id", *, limit: int
) -> list[bytes]:
    """The distinct 16-byte ids that begin with some hexadecimal digits, in order, at most `limit`.

    Args:
        ref: what to read; only its id column is.
        prefix: at most 32 lower-case hexadecimal digits.
        id_column: name of the id column.
        limit: looking stops when so many are found.
    """
    lowest = pa.scalar(bytes.fromhex(prefix.ljust(ID_DIGITS, "0")), pa.binary())
    highest = pa.scalar(bytes.fromhex(prefix.ljust(ID_DIGITS, "f")), pa.binary())
    manifest = read_manifest(ref)
    stored = stored_as(manifest.schema.field(id_column).type)
    found: dict[bytes, None] = {}
    for shard in manifest.shards:
        ids = read_shard(ref.uri, shard, [id_column])[id_column].cast(stored).cast(pa.binary())
        begins = pc.and_(pc.greater_equal(ids, lowest), pc.less_equal(ids, highest))
        found |= dict.fromkeys(ids.filter(begins).to_pylist())
        if len(found) >= limit:
            break
    return list(found)[:limit]
