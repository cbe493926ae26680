"""Streams of raw rows: JSON lines and documents, tables, Parquet, Arrow, hub; local or s3://.

What a file is stands in its bytes, not in its name: it is read whole, or refused in one line. A
stream never stops at a bad row. What cannot be read as one JSON object becomes a `RawRow` with a
problem; a file that breaks off gives the rows so far and one last row that says so.
"""

import codecs
import io
import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO, cast

from upath import UPath

from synpref_dagster.sources.files.columnar import arrow_rows, parquet_rows
from synpref_dagster.sources.files.containers import (
    COLUMNAR,
    COMPRESSED,
    HEAD_BYTES,
    UNPACK,
    kind_of,
    refused_kind,
    torn_kind,
)
from synpref_dagster.sources.files.documents import rows_of
from synpref_dagster.sources.files.folders import place_of
from synpref_dagster.sources.files.json_arrays import JsonArray, starts_array
from synpref_dagster.sources.files.raw_rows import RawRow, json_row, unread
from synpref_dagster.sources.files.streams import (
    BrokenStreamError,
    PeekedStream,
    as_utf8,
    decompressed,
    encoding_of,
    with_line_feeds,
)
from synpref_dagster.sources.files.tables import csv_delimiter, csv_rows, table_delimiter
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.storage.uris import explained

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest JSON line taken into memory; the rest of a longer one is skipped unread."""
SAMPLE_BYTES = 1 << 16
"""Text that is looked at to tell lines, documents and tables apart."""
SHOWN_CHARS = 40


def read_rows(
    spec: SourceSpec, *, storage_options: Mapping[str, Any] | None = None
) -> Iterator[RawRow]:
    """Rows of a source, in order.

    Raises:
        ValueError: there is no such file, or none that is read; the message names it.
    """
    if spec.path is None:
        yield from _hub_rows(spec)
        return
    path = UPath(spec.path, **storage_options) if storage_options else place_of(spec.path)
    if not path.is_file():
        raise ValueError(f"source {spec.name!r}: no file at {spec.path!r}; correct its path")
    with explained(path), path.open("rb") as opened:
        yield from _file_rows(cast(BinaryIO, opened), spec)


def _file_rows(file: BinaryIO, spec: SourceSpec) -> Iterator[RawRow]:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    kind = kind_of(head)
    if kind == "Parquet":
        _refuse_split(spec)
        yield from parquet_rows(file, _what(spec))
    elif kind == "Arrow":
        yield from arrow_rows(file, _what(spec))
    elif kind in COMPRESSED:
        yield from _text_rows(PeekedStream(decompressed(file, str(kind))), spec, within=kind)
    elif torn := torn_kind(head):
        detail = f"the beginning of a {torn} file, and no more"
        yield RawRow(0, None, "", problem="truncated_file", detail=detail)
    else:
        yield from _text_rows(PeekedStream(file), spec)


def _what(spec: SourceSpec) -> str:
    return f"source {spec.name!r}: {spec.path}"


def _refuse_split(spec: SourceSpec) -> None:
    if "split" in spec.options:
        raise ValueError(
            f"{_what(spec)} has no splits: take the option split out; it is for hub data sets, "
            "folders that `datasets` saved, and JSON objects with several parts"
        )


def _text_rows(
    stream: PeekedStream, spec: SourceSpec, *, within: str | None = None
) -> Iterator[RawRow]:
    head = stream.ahead(HEAD_BYTES)
    _refuse_container(head, spec, within)
    if encoding := encoding_of(head):
        stream = PeekedStream(as_utf8(stream, encoding))
    sample = stream.ahead(SAMPLE_BYTES)
    if b"\r" in sample[:-1] and b"\n" not in sample:
        stream = PeekedStream(with_line_feeds(stream))
        sample = stream.ahead(SAMPLE_BYTES)
    text = sample.removeprefix(codecs.BOM_UTF8).lstrip()
    lines = cast(io.BufferedReader, io.BufferedReader(stream, SAMPLE_BYTES))
    if text.startswith(b"{") and _is_document(stream):
        yield from _document_rows(lines, spec)
        return
    _refuse_split(spec)
    if starts_array(text):
        yield from _array_rows(lines)
    elif text.startswith(b"{"):
        yield from _json_rows(lines, 0)
    elif text.startswith(b"["):
        _refuse_lists(sample, spec)
        yield from _json_rows(lines, 0)
    elif text and (delimiter := _delimiter(stream, sample, spec)):
        yield from csv_rows(lines, delimiter=delimiter, what=_what(spec))
    else:
        _refuse_prose(sample, spec)
        yield from _json_rows(lines, 0)


def _refuse_container(head: bytes, spec: SourceSpec, within: str | None) -> None:
    """Refuses what cannot be read: by its own first bytes, or within a compressed stream."""
    inner = kind_of(head) if within else None
    about = (f"{inner} data", UNPACK) if inner in {*COMPRESSED, *COLUMNAR} else refused_kind(head)
    if about:
        name, advice = about
        where = f"holds {name} within {within}" if within else f"is {name}"
        raise ValueError(f"{_what(spec)} {where}, which is not read: {advice}")


def _is_document(stream: PeekedStream) -> bool:
    """Whether text that begins with an object is no list of lines: its first line says so."""
    size = SAMPLE_BYTES
    while True:
        text = stream.ahead(size).removeprefix(codecs.BOM_UTF8).lstrip()
        first, _, rest = text.partition(b"\n")
        second = rest.lstrip()[:1]
        if second or stream.is_whole or size >= MAX_LINE_BYTES:
            break
        size *= 2
    if second:
        goes_on = second in b'"}],' or first.rstrip().endswith((b"[", b":"))
        return goes_on and not _is_json(first)
    # A lone object may be a table; one that breaks off is a broken line.
    return stream.is_whole and _is_json(first)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _document_rows(lines: io.BufferedReader, spec: SourceSpec) -> Iterator[RawRow]:
    """Rows of one JSON object over the whole file, or of objects over several lines each."""
    objects = JsonArray(lines).objects()
    first, second = next(objects, None), next(objects, None)
    if first is not None and first.problem == "over_byte_limit":
        raise ValueError(
            f"{_what(spec)} is one JSON object of 64 MiB or more: write its rows as JSON lines"
        )
    if first is None or second is not None or first.value is None:
        _refuse_split(spec)
        yield from chain(filter(None, (first, second)), objects)
        return
    try:
        rows = rows_of(first.value, split=spec.options.get("split"))
    except ValueError as error:
        raise ValueError(f"{_what(spec)} {error}") from error
    if rows is None:
        yield first
        return
    for number, row in enumerate(rows):
        yield RawRow(number, row, "")


def _array_rows(lines: io.BufferedReader) -> Iterator[RawRow]:
    array, number = JsonArray(lines), 0
    for row in array.rows():
        yield row
        number = row.number + 1
    for line in array.rest.splitlines(keepends=True):
        if line.strip():
            yield json_row(number, line)
            number += 1
    yield from _json_rows(lines, number)


def _delimiter(stream: PeekedStream, sample: bytes, spec: SourceSpec) -> str | None:
    """Delimiter of a table; None for other text, and for what only has the name of a table."""
    named = csv_delimiter(str(spec.path))
    head = sample.removeprefix(codecs.BOM_UTF8)
    if set(head.partition(b"\n")[0]) & {*range(9), *range(14, 32)}:
        return None  # No header has control characters.
    text = head.decode("utf-8", "surrogateescape")
    return table_delimiter(text, named=named, is_whole=stream.is_whole)


def _refuse_prose(sample: bytes, spec: SourceSpec) -> None:
    """Refuses text in which no line is JSON or begins like it: all its rows would be refused."""
    found = map(bytes.strip, sample.removeprefix(codecs.BOM_UTF8).splitlines())
    lines = [line for line in found if line]
    if not lines or any(line[:1] in b"{[" or _is_json(line) for line in lines):
        return
    shown = sample[:SHOWN_CHARS].decode("utf-8", "backslashreplace").replace("\x00", "\\x00")
    raise ValueError(
        f"{_what(spec)} is neither JSON nor a table with a header line; it begins with {shown!r}: "
        "correct the file, or take it out of the source"
    )


def _refuse_lists(sample: bytes, spec: SourceSpec) -> None:
    """Refuses JSON lists of which none can be a row: their cells have no names."""
    if not any(line.lstrip().startswith(b"{") for line in sample.splitlines()):
        raise ValueError(
            f"{_what(spec)} holds JSON lists, whose cells have no names: write its rows as objects"
        )


def _json_rows(stream: io.BufferedReader, number: int) -> Iterator[RawRow]:
    while True:
        try:
            line = stream.readline(MAX_LINE_BYTES)
            too_long = len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
            if too_long:
                _skip_line(stream)
        except BrokenStreamError as error:
            # The check sum stands at the end: rows before it were read, but may be wrong.
            yield RawRow(number, None, "", problem=error.problem, detail=str(error))
            return
        if not line:
            return
        if too_long:
            yield unread(number, line, problem="over_byte_limit", detail="line of 64 MiB or more")
        elif line.strip():
            yield json_row(number, line)
        number += 1


def _skip_line(stream: io.BufferedReader) -> None:
    while True:
        rest = stream.readline(MAX_LINE_BYTES)
        if not rest or rest.endswith(b"\n"):
            return


def _hub_rows(spec: SourceSpec) -> Iterator[RawRow]:
    # Imported here: it takes seconds and most sources are files.
    import datasets

    try:
        rows = datasets.load_dataset(
            cast(str, spec.hub_id),
            spec.options.get("config_name"),
            data_dir=spec.options.get("data_dir"),
            revision=spec.revision,
            split=spec.options.get("split", "train"),
        )
    except (ValueError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        about = " ".join(str(error).split())
        where = f"hub data set {spec.hub_id!r} at {spec.revision!r}"
        raise ValueError(f"source {spec.name!r}: {where} cannot be read: {about}") from error
    for number, value in enumerate(rows):
        yield RawRow(number, value, "")
