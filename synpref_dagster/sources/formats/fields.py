"""What a row format is: how to recognise its rows and how to turn one into a preference pair.

A format rejects a row it cannot read by raising `RowRejected`; returning None means that the
options leave the row out. `build_pair` is the one gate through which every pair passes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.pairs.structure import (
    MAX_TEXT_BYTES,
    STRUCTURAL_REASONS,
    roles_alternate,
    structural_reasons,
)
from synpref_dagster.sources.files.raw_rows import RawRow
from synpref_dagster.sources.foreign.context import repeated
from synpref_dagster.sources.foreign.messages import (
    TWO_SYSTEMS,
    Message,
    holds_something,
    is_messages,
    listed,
)
from synpref_dagster.sources.foreign.opening import opened
from synpref_dagster.sources.records import ParsedRow, RowRejected, SourceSpec, Unfolded

Row = Mapping[str, Any]
RowReader = Callable[[Row, int], ParsedRow | Unfolded | None]
"""(row, row number) -> the pair or candidates, or None for a row outside the selected part."""
RowGrouping = Callable[[Iterator[RawRow]], Iterator[RawRow]]
"""Rows that belong together become one row, see `sources.grouping`."""
MAX_FOLDS = 5
"""How often a row is opened; a stored chat may hold a rendered one, and no more is believable."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Makes the reader of a format that draws labels."""

    by_seed: Callable[[SourceSpec, int], RowReader]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFormat:
    """One row of the registry of formats."""

    name: str
    """Name by which a source specification asks for the format."""
    layout: str
    """The layout in one line, shown when a format cannot be detected."""
    matches: Callable[[Row], bool]
    """Whether a first row looks like this format."""
    make_reader: Callable[[SourceSpec], RowReader] | Drawing
    """Specification -> reader of single rows; refuses bad options with a ValueError."""
    columns: frozenset[str]
    """Columns that the reader may read; the others are counted, or belong to the conversation."""
    asks: str | None = None
    """The column with the conversation, as text or messages: a system prompt and earlier turns
    from other columns are put before it. None where they cannot be."""
    options: frozenset[str] = frozenset()
    """Options of this format beyond those of every format."""
    guesses_prompt: bool = False
    """Whether the prompt is inferred from what two responses share."""
    group: RowGrouping | None = None
    """Joins the rows of one prompt where the data holds one response per row."""

    def reader(self, spec: SourceSpec, *, seed: int) -> RowReader:
        """Reader of single rows; the seed decides where a format draws its labels."""
        if isinstance(self.make_reader, Drawing):
            return self.make_reader.by_seed(spec, seed)
        return self.make_reader(spec)


def build_pair(
    spec: SourceSpec,
    row_number: int,
    *,
    conversation: object,
    responses: tuple[object, object],
    meta: Mapping[str, Any] | None = None,
) -> PreferencePair:
    """A pair with (chosen, rejected) responses; raises RowRejected for an unsound one.

    Args:
        spec: the source.
        row_number: 0-based number of the row.
        conversation: messages in any spelling. The text of a lone user turn may be a chat stored
            or rendered as text: it becomes its turns, see `sources.foreign`.
        responses: two texts, or two lists of messages whose last one is the response.
        meta: what is kept beside the pair.
    """
    conversation, (chosen, rejected) = _unfolded(
        conversation, responses, max_text_bytes=max_text_bytes(spec)
    )
    reasons = structural_reasons(
        conversation, chosen, rejected, max_text_bytes=max_text_bytes(spec)
    )
    if reasons:
        raise RowRejected(*reasons)
    assert isinstance(conversation, Sequence)
    assert isinstance(chosen, str)
    assert isinstance(rejected, str)
    return PreferencePair(
        conversation=tuple(
            Turn(role=turn["role"], content=turn["content"]) for turn in conversation
        ),
        chosen=chosen,
        rejected=rejected,
        source=spec.name,
        origin=spec.origin,
        meta={"row": row_number, **(meta or {})},
    )


def labelled_pair(
    spec: SourceSpec,
    row_number: int,
    *,
    conversation: object,
    responses: tuple[object, object],
    sign: float,
    meta: Mapping[str, Any] | None = None,
) -> PreferencePair:
    """A pair of (first, second) responses: `sign` above 0 prefers the first, below 0 the second.

    Raises RowRejected `tied` for a sign of 0: a tie is no preference, and picking a side would
    invent one.
    """
    if sign == 0:
        raise RowRejected("tied")
    first, second = responses
    return build_pair(
        spec,
        row_number,
        conversation=conversation,
        responses=(first, second) if sign > 0 else (second, first),
        meta=meta,
    )


def max_text_bytes(spec: SourceSpec) -> int:
    """The specification's limit for one text in UTF-8 bytes."""
    limit: int = spec.options.get("max_text_bytes", MAX_TEXT_BYTES)
    return limit


def required(row: Row, *names: str) -> list[Any]:
    """Values of columns that a row must have; raises RowRejected naming the missing ones."""
    missing = [name for name in names if name not in row]
    if missing:
        raise RowRejected("missing_column", detail=f"no {', '.join(missing)}")
    return [row[name] for name in names]


def finite(value: object) -> float | None:
    """A finite number as float, None for anything else (bool, text, NaN).

    >>> finite(3), finite(True), finite("3"), finite(float("nan"))
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def user_turn(prompt: object) -> list[dict[str, Any]]:
    """A conversation of one user turn; a prompt that is a list of messages is one already."""
    if isinstance(prompt, list) or is_messages(prompt):
        return listed(prompt)  # type: ignore[return-value]
    return [{"role": "user", "content": prompt}]


def asked(prompt: object) -> list[dict[str, Any]]:
    """The conversation of a prompt that may be missing: messages that repeat it say it as well."""
    return user_turn(prompt) if holds_something(prompt) else []


def one_of(spec: SourceSpec, option: str, allowed: Sequence[str]) -> str:
    """Value of an option with a few legal values, the first being the default."""
    value = spec.options.get(option, allowed[0])
    if value not in allowed:
        raise ValueError(
            f"source {spec.name!r}: {option} {value!r} must be one of {', '.join(allowed)}"
        )
    return str(value)


def split_shared_conversation(
    chosen: Sequence[Message], rejected: Sequence[Message], *, max_text_bytes: int
) -> tuple[list[Message], tuple[object, object]]:
    """(conversation, (chosen, rejected)) of two full message lists that share all but the last.

    Strict: both lists must be equal up to their last message, and that must be the assistant's.
    Raises RowRejected with all reasons found, `prompt_not_shared` deciding first.
    """
    reasons = [] if chosen[:-1] == rejected[:-1] else ["prompt_not_shared"]
    found: set[str] = set()
    for messages in (chosen, rejected):
        roles = [turn["role"] for turn in messages]
        if not roles_alternate(roles):
            found.add("roles_not_alternating")
        if roles[-1] != "assistant":
            found.add("not_ending_with_response")
    for messages in (chosen, rejected) if reasons else (chosen,):
        # Each side is checked against its own conversation where they differ.
        last = (chosen[-1]["content"], rejected[-1]["content"])
        found |= set(structural_reasons(messages[:-1], *last, max_text_bytes=max_text_bytes))
    order = ("not_ending_with_response", *STRUCTURAL_REASONS)
    reasons += [reason for reason in order if reason in found]
    if reasons:
        raise RowRejected(*reasons)
    return list(chosen[:-1]), (chosen[-1]["content"], rejected[-1]["content"])


def _unfolded(
    conversation: object, sides: tuple[Any, Any], *, max_text_bytes: int
) -> tuple[object, tuple[Any, Any]]:
    """Conversation and texts, opened until nothing hides in them any more."""
    for _ in range(MAX_FOLDS):
        turns, texts = opened(conversation, sides)
        if not all(isinstance(text, str) for text in texts):
            turns, texts = _last_messages(turns, texts, max_text_bytes=max_text_bytes)
        if _is_same(turns, conversation) and _is_same(texts, sides):
            return turns, texts
        conversation, sides = turns, texts
    raise RowRejected("rendered_chat", detail="chats inside chats")


def _is_same(new: object, old: object) -> bool:
    return new is old or (type(new) is type(old) and new == old)


def _last_messages(
    conversation: object, sides: tuple[Any, Any], *, max_text_bytes: int
) -> tuple[object, tuple[object, object]]:
    """Conversation and two texts where at least one side is a list of messages.

    Sides of one message answer the conversation given. Longer ones hold a conversation of their
    own, which must say everything that the one given says.
    """
    if not any(isinstance(side, list) for side in sides):
        return conversation, sides
    if conversation and not is_messages(conversation):
        raise RowRejected("malformed_conversation", detail="the prompt is no list of messages")
    _check_messages(sides)
    if conversation and any(isinstance(side, str) or len(side) == 1 for side in sides):
        return conversation, (_one_reply(sides[0]), _one_reply(sides[1]))
    if any(isinstance(side, str) for side in sides):
        raise RowRejected("not_text", detail="one side is a list of messages, the other a text")
    shared, responses = split_shared_conversation(*sides, max_text_bytes=max_text_bytes)
    given = conversation if isinstance(conversation, list) else []
    system = given[:1] if given and given[0]["role"] == "system" else []
    if system and shared[0]["role"] == "system" and shared[0] != system[0]:
        raise RowRejected(TWO_SYSTEMS, detail="the messages hold another system prompt")
    said = [str(turn["content"]) for turn in shared]
    if not all(repeated(str(turn["content"]), said) for turn in given[len(system) :]):
        raise RowRejected("prompt_not_shared", detail="the prompt is not in the messages")
    return shared if shared[:1] == system else [*system, *shared], responses


def _check_messages(sides: tuple[Any, Any]) -> None:
    if any(side is None or side in ("", []) for side in sides):
        raise RowRejected("empty_response")
    if not all(isinstance(side, str | list) for side in sides):
        raise RowRejected("not_text")
    if not all(isinstance(side, str) or is_messages(side) for side in sides):
        raise RowRejected("malformed_conversation")


def _one_reply(side: Any) -> Any:
    """The text of a side that is one message of the assistant, or a text already."""
    if not isinstance(side, list):
        return side
    if len(side) != 1 or side[0]["role"] != "assistant":
        roles = [turn["role"] for turn in side]
        raise RowRejected("response_not_one_message", detail=f"roles {roles}"[:200])
    content = side[0]["content"]
    if content is not None and not isinstance(content, str):
        raise RowRejected("not_text")
    return content
