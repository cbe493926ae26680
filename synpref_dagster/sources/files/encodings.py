"""Where a text stops being UTF-8, and what it looks like instead: for whoever has to convert it."""

import io
import re
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
_RUN = re.compile(rb"[\x80-\xff]{3}|[\x81\x8d\x8f\x90\x9d]")
"""Letters beyond ASCII side by side, as other scripts have, and bytes that Windows-1252 lacks."""


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
            return (
                f"it is no UTF-8: line {number:,} has the byte 0x{byte:02x} at place {place:,}"
                f"{_remedy(line)}"
            )
    return None


def _remedy(line: bytes) -> str:
    """What a line that is no UTF-8 may be, and how to convert it; never a guess among scripts."""
    if 0 in line:
        return (
            ", as UTF-16 without its mark has; convert it: iconv -f UTF-16LE (or UTF-16BE) -t UTF-8"
        )
    if _RUN.search(line):
        return "; convert it from the encoding that it was written in: iconv -f ENCODING -t UTF-8"
    # Windows has letters where Latin-1 has control characters.
    is_windows = any(0x80 <= byte < 0xA0 for byte in line)
    looks, name = ("Windows-1252", "WINDOWS-1252") if is_windows else ("Latin-1", "ISO-8859-1")
    return f", as {looks} text has; convert it if it is: iconv -f {name} -t UTF-8"
