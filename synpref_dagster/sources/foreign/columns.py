"""Columns beside those that a format reads: part of the conversation, metadata, or without a place.

A system prompt, earlier turns and what an instruction is about are put where they belong, in every
format whose conversation is one column. What cannot be put anywhere refuses the row by name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from synpref_dagster.pairs.structure import seen
from synpref_dagster.sources.foreign.context import repeats, with_context
from synpref_dagster.sources.foreign.messages import (
    ROLE_KEYS,
    SPOKEN,
    holds_something,
    is_messages,
    listed,
)
from synpref_dagster.sources.foreign.names import (
    SENTENCE,
    advice,
    is_metadata,
    is_remark,
    kind_of,
    reason_of,
    unread,
)
from synpref_dagster.sources.foreign.stored import is_said_pair, may_store, stored_messages
from synpref_dagster.sources.records import RowRejected

Row = Mapping[str, Any]
_BLANK = frozenset({"", "[]", "{}"})
_MISSING = frozenset({"null", "none", "nan", "<na>", "n/a", "nat"})
"""What tables write where nothing was, in lower case."""
_OF_FILES = frozenset({"bytes", "path", "filename", "mime_type"})
_TWO_SIDES = (
    frozenset({"chosen", "rejected"}),
    frozenset({"response_a", "response_b", "winner"}),
)
MAX_NAMED, OTHERS = 200, "(further columns)"


@dataclass
class ColumnReader:
    """Reads rows of one source with all their columns, and counts those that nobody read."""

    columns: frozenset[str]
    """Columns that the format reads."""
    asks: str | None
    """The column with the conversation, None where a format makes it of several."""
    guesses: bool
    """Whether the prompt is inferred: then no other text may be it."""
    unread: Counter[str] = field(default_factory=Counter)
    """Rows in which a column held something that was not read."""
    others: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    """Columns of a row -> those that the format does not read, and their kinds."""

    def read(self, row: Row) -> Row:
        """The row with its context in the conversation's column.

        Raises RowRejected where a column may belong to the conversation and cannot be put there.
        """
        others = self.others.get(shape := tuple(row))
        if others is None:
            others = self._note_shape(shape)
        left = {
            name: kind
            for name, kind in others.items()
            if (value := row[name]) is not None and _holds(value)
        }
        if not left:
            return row
        missing = [name for name, value in ((n, row[n]) for n in left) if _is_missing(value)]
        if missing:
            # Counted, since it may have been said: nothing tells the word from an empty place.
            self._count(missing)
            left = {name: kind for name, kind in left.items() if name not in missing}
        kinds = {n: kind for n in left if (kind := left[n] or _kind_by_shape(row[n]))}
        if not kinds and not self.guesses:
            self._count(left)
            return row
        if self.guesses:
            refuse_other_prompts(row, left)
        read, used = self._with_context(row, kinds) if kinds else (row, [])
        self._count(name for name in left if name not in used)
        return read

    def _note_shape(self, names: tuple[str, ...]) -> dict[str, str]:
        others = {name: kind_of(name) for name in names if name not in self.columns}
        if len(self.others) < MAX_NAMED:
            self.others[names] = others
        return others

    def _count(self, names: Iterable[str]) -> None:
        for name in names:
            known = name in self.unread or len(self.unread) < MAX_NAMED
            self.unread[name if known else OTHERS] += 1

    def _with_context(self, row: Row, kinds: Mapping[str, str]) -> tuple[Row, list[str]]:
        media = [
            name
            for name, kind in kinds.items()
            if kind == "media" and not isinstance(row[name], bool | int | float)
        ]
        if media:
            detail = advice(media[0], "holds what no pair has a place for")
            raise RowRejected(reason_of(media[0]), detail=detail)
        given = {
            name: kind
            for name, kind in kinds.items()
            if kind != "media" and _may_be_text(row[name])
        }
        if not given:
            return row, []
        placed = {} if self.asks is None else {n: k for n, k in given.items() if k != "unplaced"}
        for name in (each for each in given if each not in placed):
            if not repeats(row[name], row, self.columns):
                raise unread(name)
        if self.asks is None or not placed:
            return row, list(given)
        return {**row, self.asks: with_context(row, self.asks, placed)}, list(given)


def refuse_other_prompts(row: Row, names: Iterable[str]) -> None:
    """Raises RowRejected where a text beside two responses may be their prompt."""
    for name in names:
        value = row[name]
        if isinstance(value, str | list | Mapping) and not is_metadata(name):
            raise unread(name)
        # What a name says counts less than a sentence, except where sentences are expected.
        if isinstance(value, str) and len(value.split()) >= SENTENCE and not is_remark(name):
            raise unread(name)


def with_prompt(row: Row) -> Row:
    """A row of two responses with its prompt under `prompt`, whatever its column is called.

    Rows of other layouts, and rows whose context cannot be placed, stay as they are.
    """
    sides = next((each for each in _TWO_SIDES if each <= row.keys()), None)
    if sides is None:
        return row
    reader = ColumnReader(sides | {"prompt"}, "prompt", guesses=False)
    try:
        return reader.read(row)
    except RowRejected:
        return row


def _kind_by_shape(value: object) -> str:
    """What a value under a name that says nothing is: a file, a conversation, or nothing known."""
    if isinstance(value, str):
        return "unplaced" if may_store(value) and _stores_chat(value) else ""
    found = listed(value)
    if not isinstance(found, list | Mapping):
        return ""
    inside = found if isinstance(found, list) else [found]
    if any(isinstance(one, Mapping) and "bytes" in one and {*one} <= _OF_FILES for one in inside):
        return "media"
    if isinstance(found, Mapping) and not is_messages(found):
        return "unplaced" if any(map(_is_chat, found.values())) else ""
    return "unplaced" if _is_chat(found) or (inside and all(map(is_said_pair, inside))) else ""


def _is_chat(value: object) -> bool:
    """Whether somebody known speaks in every one of a list of messages."""
    found = listed(value)
    return isinstance(found, list) and is_messages(found) and all(map(_is_spoken, found))


def _is_spoken(message: Mapping[str, Any]) -> bool:
    roles = (message.get(name) for name in ROLE_KEYS)
    return any(isinstance(role, str) and role.strip().lower() in SPOKEN for role in roles)


def _stores_chat(text: str) -> bool:
    try:
        return stored_messages(text) is not None
    except RowRejected:
        return False  # Whether it is a chat cannot be told; it is counted as not read.


def _may_be_text(value: object) -> bool:
    """Numbers count turns or name rows; texts, lists and objects may say something."""
    return isinstance(listed(value), str | list | Mapping)


def _holds(value: object) -> bool:
    """Whether a cell holds something; tables without types write an empty list as text, too."""
    if type(value) is str:
        return bool(seen(value)) if len(value) > 4 else seen(value) not in _BLANK
    return holds_something(value)


def _is_missing(value: object) -> bool:
    """Whether a cell is the word by which a table says that nothing is there."""
    return type(value) is str and len(value) < 9 and value.strip().lower() in _MISSING
