"""Where a text stops being UTF-8, and what it looks like instead: for whoever has to convert it."""

import codecs
import io
from typing import Any

from synpref_dagster.sources.files.containers import COLUMNAR, COMPRESSED, HEAD_BYTES, kind_of
from synpref_dagster.sources.files.folders import place_of
from synpref_dagster.sources.files.streams import (
    BrokenStreamError,
    PeekedStream,
    as_utf8,
    decompressed,
    encoding_of,
)
from synpref_dagster.sources.records import SourceSpec

NOT_UTF8 = "not_utf8"
"""Why a row is none."""
MAX_LINE_BYTES = 64 * 2**20


def first_bad_line(spec: SourceSpec) -> str | None:
    """The first line of a file that is no UTF-8, and what to do; None where all of it is.

    Args:
        spec: of a file; nothing is said of a data set of the hub.
    """
    if spec.path is None or not (path := place_of(spec.path)).is_file():
        return None
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES))
        file.seek(0)
        if kind in COLUMNAR:
            return None
        stream: Any = PeekedStream(decompressed(file, str(kind)) if kind in COMPRESSED else file)
        if encoding := encoding_of(stream.ahead(HEAD_BYTES)):
            stream = as_utf8(stream, encoding)
        try:
            return _bad_line(io.BufferedReader(stream))
        except BrokenStreamError:
            return None


def _bad_line(lines: io.BufferedReader) -> str | None:
    number = 0
    while line := lines.readline(MAX_LINE_BYTES):
        number += 1
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte, place = line[error.start], error.start + 1
            looks, name = _look(line)
            return (
                f"it is no UTF-8: line {number:,} has the byte 0x{byte:02x} at place {place:,}, as "
                f"{looks} text may have; convert it: iconv -f {name} -t UTF-8"
            )
    return None


def _look(line: bytes) -> tuple[str, str]:
    """What a line that is no UTF-8 may be, for people and for iconv."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 0 in line:
        return "UTF-16", "UTF-16"
    # Windows has letters where Latin-1 has control characters.
    is_windows = any(0x80 <= byte < 0xA0 for byte in line)
    return ("Windows-1252", "WINDOWS-1252") if is_windows else ("Latin-1", "ISO-8859-1")
