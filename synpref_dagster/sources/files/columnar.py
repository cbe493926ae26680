"""Parquet and Arrow files as rows, batch by batch; a value that cannot be read costs its row."""

import os
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.sources.files.raw_rows import RawRow
from synpref_dagster.sources.files.streams import is_damage
from synpref_dagster.sources.records import RAW_CHARS

BATCH_ROWS = 1_024
FILE_MAGIC = b"ARROW1\x00\x00"
"""How an Arrow file begins; a stream, as `datasets` writes it, follows in either case."""
STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def parquet_rows(file: BinaryIO, what: str) -> Iterator[RawRow]:
    """Rows of a Parquet file; `what` names it in errors. ValueError: a column is there twice."""
    number = 0
    try:
        parquet = pq.ParquetFile(file)
        _check_names(parquet.schema_arrow, what)
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            yield from _batch_rows(batch, number)
            number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        yield _damaged(number, error)


def arrow_rows(file: BinaryIO, what: str) -> Iterator[RawRow]:
    """Rows of an Arrow file or stream, `save_to_disk` included, as far as they are whole."""
    number = 0
    try:
        if file.read(len(FILE_MAGIC)) != FILE_MAGIC:
            file.seek(0)
        reader = pa.ipc.open_stream(pa.PythonFile(cast(Any, file), mode="r"))
        _check_names(reader.schema, what)
        for batch in reader:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                yield from _batch_rows(part, number, checked=False)
                number += part.num_rows
    except (pa.ArrowException, OSError) as error:
        yield _damaged(number, error)
        return
    if not _has_end(file):
        detail = "the Arrow stream has no end: rows may be missing"
        yield RawRow(number, None, "", problem="truncated_file", detail=detail)


def _has_end(file: BinaryIO) -> bool:
    # A stream that breaks off between two batches looks finished; a file ends in its magic.
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(STREAM_END)))
    end = file.read()
    return end == STREAM_END or end.endswith(FILE_MAGIC.rstrip(b"\x00"))


def _check_names(schema: pa.Schema, what: str) -> None:
    if len(set(schema.names)) != len(schema.names):
        raise ValueError(f"{what} names a column twice: {schema.names}")


def _damaged(number: int, error: Exception) -> RawRow:
    if not is_damage(error):
        raise error  # The store did not answer, which says nothing about the file.
    return RawRow(number, None, "", problem="damaged_file", detail=str(error)[:RAW_CHARS])


def _batch_rows(batch: pa.RecordBatch, start: int, *, checked: bool = True) -> Iterator[RawRow]:
    """Rows of a batch; what Arrow streams say of lengths and offsets is `checked` by nobody yet."""
    try:
        if not checked:
            batch.validate(full=True)  # Reading behind the end of a column would crash.
        values = batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield _unreadable(batch, start, error)
            return
        # Halve until the row that cannot be read stands alone.
        half = batch.num_rows // 2
        yield from _batch_rows(batch.slice(0, half), start, checked=checked)
        yield from _batch_rows(batch.slice(half), start + half, checked=checked)
        return
    for offset, value in enumerate(values):
        yield RawRow(start + offset, value, "")


def _unreadable(batch: pa.RecordBatch, number: int, error: Exception) -> RawRow:
    is_text = isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
    detail = str(error)
    if not isinstance(error, pa.ArrowInvalid):
        detail = f"column {_column_of(batch)!r}: {error}"
    problem = "not_utf8" if is_text else "unreadable_value"
    return RawRow(number, None, "", problem=problem, detail=detail)


def _column_of(batch: pa.RecordBatch) -> str:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.to_pylist()
        except (ValueError, OverflowError):
            return name
    return ""
