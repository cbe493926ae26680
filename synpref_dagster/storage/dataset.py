"""Data sets: content-addressed Parquet shards below one URI, written once, read in streams.

Shards are named by the hash of their bytes and never overwritten; equal tables give equal bytes,
so a step repeated anywhere ends in the same fingerprint.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synpref_dagster.storage.arrow_types import canonical_table, dictionary_columns, stored_as
from synpref_dagster.storage.damage import compared_content, quick_hash
from synpref_dagster.storage.manifest import (
    SHARD_FOLDER,
    Manifest,
    Shard,
    hash_bytes,
    publish,
    read_manifest,
    reuse,
)
from synpref_dagster.storage.refs import DatasetRef
from synpref_dagster.storage.uris import (
    join_uri,
    open_file,
    read_bytes,
    remove_leftovers,
    to_path,
    write_bytes,
)

MAX_SHARD_ROWS = 50_000
WRITING: dict[str, Any] = {"compression": "zstd", "row_group_size": 125_000}
MAX_LISTED = 3

Tables: TypeAlias = pa.Table | Iterable[pa.Table]


def build_dataset(
    uri: str,
    *,
    step: str,
    compute: Callable[[], Tables],
    meta: Mapping[str, Any] | None = None,
) -> DatasetRef:
    """The data set that a step produces, computed only when it is not there yet.

    Args:
        uri: folder of the data set, local or object store.
        step: identity of the computation, from `step_key`.
        compute: gives one table, or tables one after the other, each a shard.
        meta: JSON values for people, kept in the manifest.

    Returns:
        The reference to the published state; an older state that this very step published
        becomes the current one again.
    """
    published = reuse(uri, step=step, meta=meta)
    return published or write_dataset(uri, compute(), step=step, meta=meta)


def write_dataset(
    uri: str,
    tables: Tables,
    *,
    step: str,
    meta: Mapping[str, Any] | None = None,
    max_shard_rows: int = MAX_SHARD_ROWS,
) -> DatasetRef:
    """Writes and publishes tables as a data set, whatever is there already.

    A lone table is cut into shards of `max_shard_rows` rows. Tables that come one after the other
    are a shard each, so that the caller decides which rows stay together.

    Raises:
        ValueError: no table at all (an empty one is fine), or tables of different schemas.
    """
    json.dumps(dict(meta or {}), allow_nan=False)  # Before the work, not after it.
    remove_leftovers(to_path(uri) / SHARD_FOLDER)
    shards: list[Shard] = []
    schema: pa.Schema | None = None
    for table in _cut(tables, max_shard_rows):
        canonical = canonical_table(table)
        schema = check_schema(schema, canonical.schema)
        shards.append(write_shard(uri, canonical))
    if schema is None:
        raise ValueError(
            f"nothing to write to {uri!r}: pass at least one table, which may be empty"
        )
    manifest = Manifest(schema=schema, shards=tuple(shards), step=step, meta=dict(meta or {}))
    return publish(uri, manifest)


def read_table(ref: DatasetRef, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows (of some columns, in the order asked for) as one Arrow table."""
    return pa.concat_tables(iter_tables(ref, columns))


def iter_tables(ref: DatasetRef, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows shard by shard, in order; memory stays at one shard.

    Raises:
        ValueError: the state is gone, a shard is missing or torn, or a column is unknown.
    """
    manifest = read_manifest(ref)
    _check_columns(ref, manifest, columns or ())
    for shard in manifest.shards:
        yield read_shard(ref.uri, shard, columns)


def select_rows(
    ref: DatasetRef,
    ids: Iterable[bytes] | pa.Array,
    id_column: str = "pair_id",
) -> pa.Table:
    """Rows whose id is wanted, the first one per id, in the order of the data set.

    Only the id column of shards without a wanted row is read. Ids that are not there are simply
    missing from the result: compare `num_rows` where that matters.

    Args:
        ref: what to read.
        ids: 16-byte ids, or an Arrow array of them (UUID or binary).
        id_column: name of the id column.
    """
    manifest = read_manifest(ref)
    _check_columns(ref, manifest, [id_column])
    stored = stored_as(manifest.schema.field(id_column).type)
    # Arrow gives UUIDs as uuid.UUID, whose 16 bytes are what is stored.
    listed = ids.to_pylist() if isinstance(ids, _ARRAYS) else ids
    remaining = {getattr(wanted, "bytes", wanted) for wanted in listed}
    value_set = pa.array(list(remaining), stored)
    found = [manifest.schema.empty_table()]
    for shard in manifest.shards:
        if not remaining:
            break
        column = read_shard(ref.uri, shard, [id_column])[id_column].cast(stored)
        if len(rows := _take_first(column, value_set, remaining)):
            found.append(read_shard(ref.uri, shard).take(rows))
    return pa.concat_tables(found)


def shard_uris(ref: DatasetRef) -> list[str]:
    """URIs of the Parquet files in order, for DuckDB and other readers."""
    return [join_uri(ref.uri, SHARD_FOLDER, shard.name) for shard in read_manifest(ref).shards]


def verify(ref: DatasetRef) -> None:
    """Reads every shard and compares its content with the manifest.

    Raises:
        ValueError: a shard is missing or holds other bytes than were published.
    """
    for shard in read_manifest(ref).shards:
        content = read_bytes(to_path(ref.uri) / SHARD_FOLDER / shard.name)
        if content is None or hash_bytes(content) != shard.content_hash:
            state = "missing" if content is None else "damaged"
            raise ValueError(
                f"shard {shard.name} of {ref.uri!r} is {state}: "
                "delete the file and materialize the asset again"
            )


def write_shard(uri: str, table: pa.Table) -> Shard:
    """Writes one canonical table as a shard of `uri`; it belongs to no data set yet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_dictionary=dictionary_columns(table.schema), **WRITING)
    content = sink.getvalue()
    shard = Shard(hash_bytes(content), table.num_rows, content.size, quick_hash(content))
    write_bytes(to_path(uri) / SHARD_FOLDER / shard.name, memoryview(content))
    return shard


def read_shard(uri: str, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of one shard, whose bytes are compared with its hash once per process.

    Raises:
        DamagedShardError: the file holds other bytes than were written, and was set aside.
        ValueError: the file is missing or torn.
    """
    path = to_path(uri) / SHARD_FOLDER / shard.name
    try:
        if (content := compared_content(path, shard)) is not None:
            return pq.ParquetFile(pa.BufferReader(content)).read(columns=_as_list(columns))
        if isinstance(path, Path):
            return pq.ParquetFile(path).read(columns=_as_list(columns))
        with open_file(path) as file:
            return pq.ParquetFile(file, pre_buffer=True).read(columns=_as_list(columns))
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise ValueError(
            f"shard {shard.name} of {uri!r} is missing or torn ({error}): "
            "materialize the asset that writes it again"
        ) from error


def check_schema(expected: pa.Schema | None, schema: pa.Schema) -> pa.Schema:
    """The schema, once it equals the expected one.

    Raises:
        ValueError: naming the columns that differ.
    """
    if expected is None or schema.equals(expected):
        return schema
    ours, theirs = ({f"{c.name}: {c.type}" for c in s} for s in (expected, schema))
    raise ValueError(
        "tables of one data set differ in their columns: "
        f"{sorted(ours ^ theirs) or 'their order or nullability'}; give each the same schema"
    )


_ARRAYS = (pa.Array, pa.ChunkedArray)


def _take_first(column: pa.ChunkedArray, value_set: pa.Array, remaining: set[bytes]) -> pa.Array:
    # Row numbers of the first occurrence of each remaining id, which is then no longer remaining.
    if not pc.any(pc.is_in(column, value_set=value_set)).as_py():
        return pa.array([], pa.int64())
    # Looked up the other way round: where each wanted id stands first.
    places = pc.index_in(value_set, value_set=column).to_pylist()
    found = {
        row: wanted
        for row, wanted in zip(places, value_set.to_pylist(), strict=True)
        if row is not None and wanted in remaining
    }
    remaining.difference_update(found.values())
    return pa.array(sorted(found), pa.int64())


def _cut(tables: Tables, max_rows: int) -> Iterable[pa.Table]:
    if not isinstance(tables, pa.Table):
        return tables
    starts = range(0, max(tables.num_rows, 1), max_rows)
    return (tables.slice(start, max_rows) for start in starts)


def _check_columns(ref: DatasetRef, manifest: Manifest, columns: Sequence[str]) -> None:
    if unknown := [name for name in columns if name not in manifest.schema.names]:
        raise ValueError(
            f"data set {ref.uri!r} has no columns {unknown[:MAX_LISTED]}: "
            f"it has {manifest.schema.names}"
        )


def _as_list(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)
