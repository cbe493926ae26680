"""Chatbot-Arena votes: two whole conversations, or prompts and replies as JSON lists of turns.

Both kinds of tie become no pair. A vote is about a whole conversation, so pairs whose earlier
replies differ share no prompt and are refused. The voter's verdict is recorded under a key.
"""

import json
from collections.abc import Mapping
from typing import Any

from synpref_dagster.pairs.record import canonical_sign
from synpref_dagster.sources.annotators import annotator_key
from synpref_dagster.sources.foreign.messages import is_messages
from synpref_dagster.sources.foreign.stored import stored_messages
from synpref_dagster.sources.formats.fields import (
    Row,
    RowFormat,
    RowReader,
    finite,
    labelled_pair,
    required,
)
from synpref_dagster.sources.formats.two_responses import CODES, winner_sign
from synpref_dagster.sources.records import ParsedRow, RecordedVerdict, RowRejected, SourceSpec

_WON = ("winner_model_a", "winner_model_b", "winner_tie")
_LISTS = ("prompt", "response_a", "response_b", *_WON)


def _is_conversations(row: Row) -> bool:
    return {"winner", "conversation_a", "conversation_b"} <= set(row)


def _read_conversations(spec: SourceSpec) -> RowReader:
    """Reader of {conversation_a, conversation_b, winner}; voters are never named."""
    sign = winner_sign(spec)

    def read(row: Row, number: int) -> ParsedRow:
        *sides, _ = required(row, "conversation_a", "conversation_b", "winner")
        # Tables have no lists: they hold the conversations as text.
        sides = [stored_messages(side) if isinstance(side, str) else side for side in sides]
        voter = annotator_key(str(row.get("judge")))
        return _read_vote(spec, number, sides=sides, sign=sign(row), voter=voter)

    return read


def _read_lists(spec: SourceSpec) -> RowReader:
    """Reader of prompts and replies that are JSON lists of turns, as in arena's 55k votes."""

    def read(row: Row, number: int) -> ParsedRow:
        prompt, first, second, *won = required(row, *_LISTS)
        questions = _turns(prompt)
        sides = [_messages(questions, _turns(replies)) for replies in (first, second)]
        return _read_vote(spec, number, sides=sides, sign=_won_sign(won), voter=None)

    return read


def _read_vote(
    spec: SourceSpec, number: int, *, sides: list[Any], sign: float, voter: str | None
) -> ParsedRow:
    if not all(map(is_messages, sides)):
        raise RowRejected("malformed_conversation", detail="a side is no list of messages")
    if sign == 0:
        raise RowRejected("tied")
    responses = (sides[0], sides[1])
    pair = labelled_pair(spec, number, conversation=[], responses=responses, sign=sign)
    if voter is None:
        return ParsedRow(pair)
    verdict = canonical_sign(pair.chosen, pair.rejected)
    return ParsedRow(pair, (RecordedVerdict(pair.content_id, voter, verdict),))


def _won_sign(won: list[Any]) -> int:
    # Text in a CSV file, numbers in Parquet.
    flags = [finite(float(flag)) if flag in ("0", "1") else finite(flag) for flag in won]
    if sorted(flag for flag in flags if flag is not None) != [0.0, 0.0, 1.0]:
        raise RowRejected("malformed_label", detail=f"{dict(zip(_WON, won, strict=True))!r}"[:200])
    return (1, -1, 0)[flags.index(1.0)]


def _turns(value: object) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowRejected("not_json", detail=str(error)) from error
    if not isinstance(value, list) or not value or isinstance(value[0], Mapping):
        raise RowRejected("malformed_conversation", detail="turns must be a list of texts")
    return value


def _messages(questions: list[Any], replies: list[Any]) -> list[dict[str, Any]]:
    if len(questions) != len(replies):
        detail = f"{len(questions)} questions, {len(replies)} replies"
        raise RowRejected("roles_not_alternating", detail=detail)
    return [
        {"role": role, "content": content}
        for turn in zip(questions, replies, strict=True)
        for role, content in zip(("user", "assistant"), turn, strict=True)
    ]


ARENA_CONVERSATIONS = RowFormat(
    name="arena_conversations",
    layout="conversation_a and conversation_b: messages; winner: model_a, model_b or a tie",
    matches=_is_conversations,
    make_reader=_read_conversations,
    columns=frozenset({"winner", "conversation_a", "conversation_b", "judge"}),
    options=CODES,
)
ARENA_LISTS = RowFormat(
    name="arena_lists",
    layout="prompt, response_a, response_b: JSON lists of turns; winner_model_a, ..., winner_tie",
    matches=lambda row: set(_LISTS) <= set(row),
    make_reader=_read_lists,
    columns=frozenset(_LISTS),
)
