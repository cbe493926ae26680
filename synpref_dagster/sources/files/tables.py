"""Comma or tab separated files with a header line; a cell is text, an empty one stays empty.

A row with too few or too many cells is a row with a problem: cells are never shifted silently.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from synpref_dagster.sources.files.json_arrays import PeekableStream
from synpref_dagster.sources.files.raw_rows import RawRow, unread

MAX_CELL_CHARS = 64 * 1024 * 1024
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def csv_delimiter(path: str) -> str | None:
    r"""Delimiter of a table by its file name, None for any other file.

    >>> csv_delimiter("votes.csv.gz"), csv_delimiter("votes.tsv"), csv_delimiter("votes.jsonl")
    (',', '\t', None)
    """
    name = PurePosixPath(path.lower().removesuffix(".gz"))
    return _DELIMITERS.get(name.suffix)


def csv_rows(stream: PeekableStream, *, delimiter: str, source: str) -> Iterator[RawRow]:
    """Rows of a table as {column: text}; raises ValueError for a header that names one twice."""
    # The limit of 128 KiB per cell is the reader's own, and process-wide.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))
    number = 0
    try:
        cells = csv.reader(_lines(stream), delimiter=delimiter, strict=True)
        header = next(cells, [])
        if len(set(header)) != len(header):
            raise ValueError(f"source {source!r}: the header names a column twice: {header}")
        for row in cells:
            if row:
                yield _row(number, header, row)
            number += 1
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield RawRow(number, None, "", problem="truncated_file", detail=str(error))
    except csv.Error as error:
        detail = f"{error}; nothing behind it is read"
        yield RawRow(number, None, "", problem="not_csv", detail=detail)


def _row(number: int, header: list[str], row: list[str]) -> RawRow:
    raw = ",".join(row)
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        content = raw.encode("utf-8", "surrogateescape")
        return unread(number, content, problem="not_utf8", detail=str(error))
    if len(row) != len(header):
        detail = f"{len(row)} cells under {len(header)} columns"
        return unread(number, raw.encode(), problem="wrong_number_of_cells", detail=detail)
    return RawRow(number, dict(zip(header, row, strict=True)), "")


def _lines(stream: PeekableStream) -> Iterator[str]:
    first = True
    while line := stream.readline(-1):
        text = line.decode("utf-8", "surrogateescape")
        yield text.removeprefix("\ufeff") if first else text
        first = False
