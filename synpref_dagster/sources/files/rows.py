"""Streams of raw rows: JSON lines and arrays, CSV, Parquet and hub data sets, local or s3://.

A stream never stops at a bad row. What cannot be read as one JSON object becomes a `RawRow` with
a problem; a file that breaks off gives the rows so far and one last row that says so.
"""

import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from synpref_dagster.sources.files.json_arrays import JsonArray, PeekableStream, starts_array
from synpref_dagster.sources.files.raw_rows import RawRow, json_row, unread
from synpref_dagster.sources.files.tables import csv_delimiter, csv_rows
from synpref_dagster.sources.records import RAW_CHARS, SourceSpec

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest JSON line taken into memory; the rest of a longer one is skipped unread."""
PARQUET_BATCH_ROWS = 1_024
PEEK_BYTES = 512
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"


def read_rows(
    spec: SourceSpec, *, storage_options: Mapping[str, Any] | None = None
) -> Iterator[RawRow]:
    """Rows of a source, in order. Raises ValueError when there is no such file."""
    if spec.path is None:
        yield from _hub_rows(spec)
        return
    path = UPath(spec.path, **dict(storage_options or {}))
    if not path.is_file():
        raise ValueError(f"source {spec.name!r}: no file at {spec.path!r}; correct its path")
    with path.open("rb") as opened:
        file = cast(BinaryIO, opened)
        start = file.read(len(_PARQUET_MAGIC))
        file.seek(0)
        if start == _PARQUET_MAGIC:
            yield from _parquet_rows(file, spec.name)
            return
        compressed = start.startswith(_GZIP_MAGIC)
        # Both can show their first bytes without giving them away.
        stream = gzip.GzipFile(fileobj=file) if compressed else _buffered(file)
        yield from _text_rows(cast(PeekableStream, stream), spec)


def _buffered(file: BinaryIO) -> io.BufferedReader:
    return file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(Any, file))


def source_files(path: str | None) -> list[str | None]:
    """Files of a source in order: those below a folder by name, else the path as it is.

    Names that begin with a dot or an underscore are not data, as in Hadoop and Spark.
    """
    if path is None or not UPath(path).is_dir():
        return [path]
    files = (one for one in UPath(path).rglob("*") if one.is_file() and one.name[0] not in "._")
    return [str(one) for one in sorted(files, key=str)]


def _text_rows(stream: PeekableStream, spec: SourceSpec) -> Iterator[RawRow]:
    delimiter = csv_delimiter(str(spec.path))
    if delimiter:
        yield from csv_rows(stream, delimiter=delimiter, source=spec.name)
        return
    try:
        is_array = starts_array(stream.peek(PEEK_BYTES))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        is_array = False  # Found again below, where it is reported as a row.
    number, rest = 0, b""
    if is_array:
        array = JsonArray(stream)
        for row in array.rows():
            yield row
            number = row.number + 1
        rest = array.rest
    for line in rest.splitlines(keepends=True):
        if line.strip():
            yield json_row(number, line)
            number += 1
    yield from _json_rows(stream, number)


def _json_rows(stream: PeekableStream, number: int) -> Iterator[RawRow]:
    while True:
        try:
            line = stream.readline(MAX_LINE_BYTES)
            too_long = len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
            if too_long:
                _skip_line(stream)
        except EOFError as error:
            yield RawRow(number, None, "", problem="truncated_file", detail=str(error))
            return
        except (zlib.error, gzip.BadGzipFile) as error:
            # The check sum stands at the end: rows before it were read, but may be wrong.
            yield RawRow(number, None, "", problem="damaged_file", detail=str(error))
            return
        if not line:
            return
        if too_long:
            yield unread(number, line, problem="over_byte_limit", detail="line of 64 MiB or more")
        elif line.strip():
            yield json_row(number, line)
        number += 1


def _skip_line(stream: PeekableStream) -> None:
    while True:
        rest = stream.readline(MAX_LINE_BYTES)
        if not rest or rest.endswith(b"\n"):
            return


def _parquet_rows(file: BinaryIO, source: str) -> Iterator[RawRow]:
    number = 0
    try:
        parquet = pq.ParquetFile(file)
        names = parquet.schema_arrow.names
        if len(set(names)) != len(names):
            raise ValueError(f"source {source!r}: the Parquet file names a column twice: {names}")
        for batch in parquet.iter_batches(batch_size=PARQUET_BATCH_ROWS):
            yield from _batch_rows(batch, number)
            number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        yield RawRow(number, None, "", problem="damaged_file", detail=str(error)[:RAW_CHARS])


def _batch_rows(batch: pa.RecordBatch, start: int) -> Iterator[RawRow]:
    try:
        values = batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            problem = "not_utf8" if isinstance(error, UnicodeDecodeError) else "unreadable_value"
            yield RawRow(start, None, "", problem=problem, detail=str(error))
            return
        # Halve until the row that cannot be read stands alone.
        half = batch.num_rows // 2
        yield from _batch_rows(batch.slice(0, half), start)
        yield from _batch_rows(batch.slice(half), start + half)
        return
    for offset, value in enumerate(values):
        yield RawRow(start + offset, value, "")


def _hub_rows(spec: SourceSpec) -> Iterator[RawRow]:
    # Imported here: it takes seconds and most sources are files.
    import datasets

    rows = datasets.load_dataset(
        cast(str, spec.hub_id),
        spec.options.get("config_name"),
        data_dir=spec.options.get("data_dir"),
        revision=spec.revision,
        split=spec.options.get("split", "train"),
    )
    for number, value in enumerate(rows):
        yield RawRow(number, value, "")
