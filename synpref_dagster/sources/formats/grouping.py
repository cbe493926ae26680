"""Joins rows that belong together, for data that holds one response or one message per row.

A joined row is {"rows": [...]} under the number of its first row. Rows that could not be read, or
have no text as key, stand alone, so that each is refused under its own number.
"""

from collections.abc import Iterator
from typing import Any

from synpref_dagster.sources.files.raw_rows import RawRow

PROMPT = "prompt"
TREE = "message_tree_id"


def neighbours_of_one_prompt(rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """Joins consecutive rows of one prompt; memory stays at one prompt."""
    return _neighbours(rows, key=PROMPT)


def neighbours_of_one_tree(rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """Joins consecutive messages of one tree; memory stays at one tree."""
    return _neighbours(rows, key=TREE)


def all_of_one_prompt(rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """Joins all rows of one prompt, wherever they stand: the whole source is held in memory."""
    groups: dict[str, list[RawRow]] = {}
    for row in rows:
        prompt = _text(row, PROMPT)
        if prompt is None:
            yield _joined([row], key=PROMPT)
        else:
            groups.setdefault(prompt, []).append(row)
    for members in groups.values():
        yield _joined(members, key=PROMPT)


def _neighbours(rows: Iterator[RawRow], *, key: str) -> Iterator[RawRow]:
    members: list[RawRow] = []
    for row in rows:
        if members and _text(row, key) != _text(members[0], key):
            yield _joined(members, key=key)
            members = []
        if _text(row, key) is None:
            yield _joined([row], key=key)
        else:
            members.append(row)
    if members:
        yield _joined(members, key=key)


def _text(row: RawRow, key: str) -> str | None:
    value: Any = row.value.get(key) if row.value is not None else None
    return value if isinstance(value, str) else None


def _joined(members: list[RawRow], *, key: str) -> RawRow:
    first = members[0]
    if first.value is None:
        return first
    return RawRow(
        first.number,
        {key: first.value.get(key), "rows": [member.value for member in members]},
        first.excerpt(),
        num_rows=len(members),
    )
