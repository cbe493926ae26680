"""Comma or tab separated files with a header line; a cell is text, an empty one stays empty.

A row with too few or too many cells is a row with a problem: cells are never shifted silently. A
column without a name, as pandas writes its index and Excel an empty column, is left out.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from synpref_dagster.sources.files.raw_rows import RawRow, unread
from synpref_dagster.sources.files.streams import BrokenStreamError

MAX_CELL_CHARS = 64 * 1024 * 1024
COMPRESSIONS = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".lz4")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_OTHERS = ",;\t|"
_SAYS = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
"""The first line by which Excel tells the delimiter."""
_COLUMN = re.compile(r"\w[\w.:-]*([ _]\w[\w.:-]*)?")


def csv_delimiter(path: str) -> str | None:
    r"""Delimiter of a table by its file name, None for any other file.

    >>> csv_delimiter("votes.csv.gz"), csv_delimiter("votes.tsv"), csv_delimiter("votes.jsonl")
    (',', '\t', None)
    """
    name = PurePosixPath(path.lower())
    while name.suffix in COMPRESSIONS:
        name = name.with_suffix("")
    return _DELIMITERS.get(name.suffix)


def table_delimiter(head: str, *, named: str | None, is_whole: bool) -> str | None:
    """Delimiter of what begins like a table, None for any other text.

    Args:
        head: the first lines.
        named: the delimiter that the file's name tells; then it is a table whatever it looks like,
            and the header alone decides which delimiter it has.
        is_whole: whether `head` is the whole file; else its last line is left out.
    """
    head = _from_header(head)
    first, _, rest = head.partition("\n")
    if found := _SAYS.fullmatch(first + "\n" * bool(rest)):
        return found[1]
    marks = list(dict.fromkeys((named or ",") + _OTHERS))
    names = [mark for mark in marks if _names_columns(_header(first, mark))]
    fitting = [mark for mark in marks if _rows_fit(head, mark, is_whole=is_whole)]
    both = [mark for mark in names if mark in fitting]
    return next(iter([*both, *names, *fitting, named] if named else both), None)


def _from_header(text: str) -> str:
    """A text without the empty and comment lines above a header."""
    while text and (line := text.partition("\n")[0] + "\n") and _is_above_header(line):
        text = text[len(line) :]
    return text


def _is_above_header(line: str) -> bool:
    """Whether a first line is empty or a comment; names of columns may begin with a `#`."""
    if not line.startswith("#"):
        return not line.strip(" \t\r\n" + _OTHERS)
    return not any(_names_columns(_header(line[1:].lstrip(), mark)) for mark in _OTHERS)


def _rows_fit(head: str, delimiter: str, *, is_whole: bool) -> bool:
    """Whether every row has as many cells as the header, which has more than one."""
    lines = head.splitlines(keepends=True)
    try:
        rows = list(csv.reader(lines if is_whole else lines[:-1], delimiter=delimiter))
    except csv.Error:
        return False
    # The last one may be cut within a quoted cell.
    counts = [len(row) for row in (rows if is_whole else rows[:-1]) if row]
    return len(counts) > 1 and counts[0] > 1 and len(set(counts)) == 1


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return next(iter(csv.reader([line.strip("\r\n")], delimiter=delimiter)), [])
    except csv.Error:
        return []  # Whoever reads the rows says so.


def _names_columns(cells: list[str]) -> bool:
    names = [cell for cell in cells if cell]
    return len(names) > 1 and all(_COLUMN.fullmatch(name) for name in names)


def csv_rows(stream: io.BufferedReader, *, delimiter: str, what: str) -> Iterator[RawRow]:
    """Rows of a table as {column: text}; raises ValueError for a header that names one twice.

    Args:
        stream: the file.
        delimiter: between cells.
        what: names the file in errors.
    """
    # The limit of 128 KiB per cell is the reader's own, and process-wide.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))
    number = 0
    try:
        cells = csv.reader(_lines(stream), delimiter=delimiter, strict=True)
        header = next(cells, [])
        _check_header(header, what)
        for row in cells:
            if row:
                _check_order(header, row, what)
                yield _row(number, header, row)
            number += 1
    except BrokenStreamError as error:
        yield RawRow(number, None, "", problem=error.problem, detail=str(error))
    except csv.Error as error:
        detail = f"{error}; nothing behind it is read"
        yield RawRow(number, None, "", problem="not_csv", detail=detail)


def _check_header(header: list[str], what: str) -> None:
    names = [name for name in header if name]
    if len(set(names)) != len(names):
        raise ValueError(f"{what}: the header names a column twice: {header}")


def _check_order(header: list[str], row: list[str], what: str) -> None:
    """Refuses what follows a second header that names the columns in another order."""
    if len(header) == 1 < len(row):
        raise ValueError(
            f"{what}: its first line {header[0][:40]!r} is no header, and its rows have {len(row)} "
            "cells: take out what stands above the header"
        )
    if row != header and row[0] in header and sorted(row) == sorted(header):
        raise ValueError(
            f"{what}: a second header names the columns in another order, {row}: read the files "
            "that were put behind each other one by one"
        )


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
    return RawRow(number, {n: cell for n, cell in zip(header, row, strict=True) if n}, "")


def _lines(stream: io.BufferedReader) -> Iterable[str]:
    first = True
    while line := stream.readline(-1):
        text = line.decode("utf-8", "surrogateescape")
        text = text.removeprefix("\ufeff") if first else text
        if first and (_SAYS.fullmatch(text) or _is_above_header(text)):
            continue
        first = False
        yield text
