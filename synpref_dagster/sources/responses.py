"""Rows of single responses: what was asked and what was answered, without a preference.

A conversation (`conversation`, `messages` or `prompt`) with `response` or a list `responses`; or
messages whose last one is the assistant's. Each response is unfolded and checked as one side of a
pair is: it is sound, or a quarantined row with a reason.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synpref_dagster.pairs.record import Turn
from synpref_dagster.pairs.structure import structural_reasons
from synpref_dagster.pairs.texts import Conversation, storable
from synpref_dagster.sources.files.raw_rows import RawRow
from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.foreign.columns import ColumnReader
from synpref_dagster.sources.foreign.messages import as_messages, is_messages, listed, unwrapped
from synpref_dagster.sources.foreign.opening import opened
from synpref_dagster.sources.formats.fields import MAX_FOLDS, max_text_bytes, user_turn
from synpref_dagster.sources.records import QuarantinedRow, RowRejected, SourceSpec
from synpref_dagster.sources.renaming import chosen_columns, renamed_columns

ASKED = ("conversation", "messages", "prompt")
ANSWERED = ("responses", "response")
LAYOUT = (
    "prompt, messages or conversation with response or responses; or messages that end with the "
    "assistant's"
)
_COLUMNS = frozenset({"prompt", "id", *ANSWERED})


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of a row: `place` is its 0-based number among those of the row."""

    row: int
    place: int
    conversation: Conversation
    response: str


def holds_responses(row: Mapping[str, Any]) -> bool:
    """Whether a row asks something and answers it.

    >>> holds_responses({"prompt": "2+2?", "response": "4"}), holds_responses({"prompt": "2+2?"})
    (True, False)
    """
    asked = [name for name in ASKED if name in row]
    return bool(asked) and (any(name in row for name in ANSWERED) or _ends_answered(row[asked[0]]))


def read_answers(spec: SourceSpec, unread: Counter[str]) -> Iterator[Answer | QuarantinedRow]:
    """Every response of a file, in order, or why it is none.

    Args:
        spec: the file; of the options `columns`, `ignore_columns` and `max_text_bytes` count.
        unread: columns that held something and were not read are added up here.

    Raises:
        ValueError: there is no such file, or none that is read.
    """
    reader = ColumnReader(_COLUMNS, "prompt", guesses=False, unread=unread)
    for row in chosen_columns(read_rows(spec), spec, renamed_columns(spec)):
        try:
            if row.value is None:
                raise RowRejected(row.problem, detail=row.detail)
            asked, answers = _parts(row.value, reader)
        except RowRejected as rejection:
            yield _quarantined(row, spec, rejection)
            continue
        for place, answer in enumerate(answers):
            try:
                yield Answer(row.number, place, *_sound(asked, answer, spec))
            except RowRejected as rejection:
                yield _quarantined(row, spec, rejection, place=place if len(answers) > 1 else None)


def _parts(value: Mapping[str, Any], reader: ColumnReader) -> tuple[Any, list[Any]]:
    """What was asked, with its context from other columns, and the answers to it."""
    row = {name: unwrapped(cell) for name, cell in value.items()}
    asked = next((name for name in ASKED if name in row), None)
    given = [name for name in ANSWERED if row.get(name) is not None]
    if asked is None:
        raise RowRejected("missing_column", detail=f"no {', '.join(ASKED)}")
    if len(given) > 1:
        raise RowRejected("two_responses", detail="both response and responses hold something")
    kept = {name: cell for name, cell in row.items() if name not in (asked, *ANSWERED)}
    question = row[asked]
    if given:
        found = row[given[0]]
        answers = list(found) if given[0] == "responses" and isinstance(found, list) else [found]
    elif _ends_answered(question):
        messages = as_messages(listed(question)) or []
        question, answers = messages[:-1], [messages[-1]["content"]]
    else:
        raise RowRejected("empty_response", detail=f"no {' and no '.join(reversed(ANSWERED))}")
    if not answers:
        raise RowRejected("empty_response", detail="responses is an empty list")
    read = reader.read({**kept, "prompt": question})
    return user_turn(read["prompt"]), answers


def _ends_answered(value: object) -> bool:
    """Whether a value is messages of which the assistant's is the last."""
    found = listed(value)
    if not isinstance(found, list) or len(found) < 2 or not is_messages(found):
        return False
    try:
        messages = as_messages(found)
    except RowRejected:
        return False
    return bool(messages) and messages is not None and messages[-1]["role"] == "assistant"


def _sound(asked: object, answer: object, spec: SourceSpec) -> tuple[Conversation, str]:
    """Conversation and response with nothing hiding in their texts; RowRejected says why not."""
    limit = max_text_bytes(spec)
    for _ in range(MAX_FOLDS):
        turns, (text, _) = opened(asked, (answer, answer))
        if turns == asked and text == answer:
            break
        asked, answer = turns, text
    else:
        raise RowRejected("rendered_chat", detail="chats inside chats")
    reasons = structural_reasons(asked, answer, answer, max_text_bytes=limit)
    if found := [reason for reason in reasons if reason != "identical_responses"]:
        raise RowRejected(*found)
    assert isinstance(asked, list | tuple)
    assert isinstance(answer, str)
    return tuple(Turn(role=turn["role"], content=turn["content"]) for turn in asked), answer


def _quarantined(
    row: RawRow, spec: SourceSpec, rejection: RowRejected, *, place: int | None = None
) -> QuarantinedRow:
    reason, *others = rejection.reasons
    told = [f"response {place}" if place is not None else "", rejection.detail]
    told += [f"also {', '.join(others)}" if others else ""]
    detail = storable("; ".join(filter(None, told)))
    return QuarantinedRow(spec.name, row.number, reason, detail, row.excerpt())
