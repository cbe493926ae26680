"""One row of a source file as found, before anybody asks what it means.

A row that is no JSON object keeps its first characters and says what is wrong with it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synpref_dagster.pairs.texts import storable
from synpref_dagster.sources.records import RAW_CHARS


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as found: its 0-based number, and its value or the problem with it."""

    number: int
    value: Mapping[str, Any] | None
    raw: str
    problem: str = ""
    detail: str = ""
    num_rows: int = 1
    """Rows of the source that this one stands for, see `sources.grouping`."""

    def excerpt(self) -> str:
        """First `RAW_CHARS` characters of the row as storable text."""
        text = self.raw or repr(self.value)
        # Cut again: an escape is longer than what it stands for.
        return storable(text[:RAW_CHARS])[:RAW_CHARS]


def json_row(number: int, line: bytes) -> RawRow:
    """Row of one line of a JSON lines file."""
    try:
        # Files put one behind the other keep their marks.
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return unread(number, line, problem="not_utf8", detail=str(error))
    try:
        value = json.loads(text, object_pairs_hook=json_object)
    except DuplicateKeyError as error:
        return unread(number, line, problem="duplicate_key", detail=f"key {error.args[0]!r}")
    except (ValueError, RecursionError) as error:
        return unread(number, line, problem="not_json", detail=str(error))
    if not isinstance(value, dict):
        found = type(value).__name__
        return unread(
            number, line, problem="not_an_object", detail=f"{found}; one JSON object per line"
        )
    return RawRow(number, value, text)


def unread(number: int, line: bytes, *, problem: str, detail: str) -> RawRow:
    """Row that could not be read, with its first characters as they stand in the file."""
    # Four bytes per character at most: enough for the excerpt, never the whole 64 MiB.
    raw = line[: 4 * RAW_CHARS].decode("utf-8", "backslashreplace")
    return RawRow(number, None, raw, problem=problem, detail=detail[:RAW_CHARS])


class DuplicateKeyError(Exception):
    """A JSON object names one key twice: which value counts is anybody's guess."""


def json_object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Hook for `json` that refuses an object naming one key twice."""
    value = dict(items)
    if len(value) != len(items):
        names = Counter(name for name, _ in items)
        raise DuplicateKeyError(names.most_common(1)[0][0])
    return value
