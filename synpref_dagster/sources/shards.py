"""Reading one source file into pairs, quarantine, counts and votes, for `map_shards`.

What is read depends on what the fingerprint of a file names. Addresses travel beside it: where a
file lies does not change it.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from synpref_dagster.pairs.record import PAIR_SCHEMA
from synpref_dagster.pairs.texts import printable
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.recorded_votes import VOTE_SCHEMA, votes_of
from synpref_dagster.sources.records import QUARANTINE_SCHEMA, SourceBatch, SourceSpec

COUNT_COLUMNS = ["num_rows", "num_unfolded", "num_pairs", "num_quarantined", "num_outside"]
READ_COUNT_SCHEMA = pa.schema(
    [("source", pa.string()), *((name, pa.int64()) for name in COUNT_COLUMNS)]
)
UNREAD_SCHEMA = pa.schema(
    [("source", pa.string()), ("column", pa.string()), ("num_rows", pa.int64())]
)
"""Columns that nobody read, and in how many rows each held something."""
READ_SCHEMAS = {
    "kept": PAIR_SCHEMA,
    "dropped": QUARANTINE_SCHEMA,
    "counts": READ_COUNT_SCHEMA,
    "votes": VOTE_SCHEMA,
    "unread": UNREAD_SCHEMA,
}
# A file without rows is counted too.
EMPTY_BATCH = SourceBatch(pairs=(), recorded_verdicts=(), quarantined=(), num_outside=0, num_rows=0)
SHARD_BYTES = 64 * 2**20
"""Pairs of a source file that make a shard: what a worker holds while it reads."""


def read_file(
    table: pa.Table, *, seed: int, paths: Mapping[str, str | None]
) -> Iterator[dict[str, pa.Table]]:
    """Reads one source file, some `SHARD_BYTES` of pairs at a time.

    Args:
        table: one row with `key`, `spec`, the specification as JSON without its path, and
            `named`, what quarantined rows call the file: empty where it is a source of its own.
        seed: for formats that draw a label.
        paths: key -> where the file lies, None for a hub data set.

    Yields:
        "kept" with `PAIR_SCHEMA`, "dropped" with `QUARANTINE_SCHEMA`, "counts" with
        `READ_COUNT_SCHEMA`, "votes" with `VOTE_SCHEMA`, "unread" with `UNREAD_SCHEMA`; the counts
        of all parts add up to those of the file.
    """
    [row] = table.to_pylist()
    spec = SourceSpec(**json.loads(row["spec"]), path=paths[row["key"]], licence="")
    batches, num_bytes = [_batch_tables(EMPTY_BATCH, spec.name, row["named"])], 0
    for batch in named_batches(spec, seed):
        batches.append(_batch_tables(batch, spec.name, row["named"]))
        num_bytes += batches[-1]["kept"].nbytes
        if num_bytes >= SHARD_BYTES:
            yield _concatenated(batches)
            batches, num_bytes = [], 0
    yield _concatenated(batches)


def named_batches(spec: SourceSpec, seed: int) -> Iterator[SourceBatch]:
    """Batches of a file; an error names the file, which is one of many where a folder is read."""
    try:
        yield from read_source(spec, seed=seed)
    except ValueError as error:
        source, text = f"source {spec.name!r}:", str(error)
        if spec.path and spec.path not in text and text.startswith(source):
            text = f"{source} {spec.path}:{text.removeprefix(source)}"
        raise ValueError(printable(text)) from error


def unread_columns(
    tables: Iterable[pa.Table], *, besides: Collection[tuple[str, str]] = ()
) -> list[dict[str, Any]]:
    """source, column and num_rows of each column that nobody read, by source and name.

    Args:
        tables: shards with `UNREAD_SCHEMA`.
        besides: (source, column) that somebody else reads, see `held_out.truth_columns`.
    """
    found: Counter[tuple[str, str]] = Counter()
    for table in tables:
        for row in table.to_pylist():
            found[row["source"], row["column"]] += row["num_rows"]
    return [
        {"source": source, "column": column, "num_rows": num_rows}
        for (source, column), num_rows in sorted(found.items())
        if (source, column) not in besides
    ]


def _batch_tables(batch: SourceBatch, source: str, file_name: str) -> dict[str, pa.Table]:
    dropped = batch.quarantine_table()
    counts = {
        "source": source,
        "num_rows": batch.num_rows,
        "num_unfolded": batch.num_unfolded,
        "num_pairs": len(batch.pairs),
        "num_quarantined": len(batch.quarantined),
        "num_outside": batch.num_outside,
    }
    return {
        "kept": batch.pairs_table(),
        "dropped": _naming_the_file(dropped, file_name) if file_name else dropped,
        "counts": pa.Table.from_pylist([counts], schema=READ_COUNT_SCHEMA),
        "votes": votes_of(batch, source),
        "unread": pa.Table.from_pylist(
            [
                {"source": source, "column": name, "num_rows": num_rows}
                for name, num_rows in batch.unread_columns.items()
            ],
            schema=UNREAD_SCHEMA,
        ),
    }


def _concatenated(parts: Sequence[dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return {
        name: pa.concat_tables([schema.empty_table(), *(part[name] for part in parts)])
        for name, schema in READ_SCHEMAS.items()
    }


def _naming_the_file(dropped: pa.Table, name: str) -> pa.Table:
    details = [f"{name}: {detail}" if detail else name for detail in dropped["detail"].to_pylist()]
    place = dropped.schema.get_field_index("detail")
    return dropped.set_column(place, dropped.schema.field(place), pa.array(details, pa.string()))
