r"""Anthropic HH transcripts: whole dialogues "\n\nHuman: ...\n\nAssistant: ..." on both sides.

A transcript becomes a message list and then goes the way of TRL's implicit prompt, just as
strictly: both sides must agree up to their last turn.
"""

import re

from synpref_dagster.pairs.record import Turn
from synpref_dagster.sources.formats.fields import (
    Row,
    RowFormat,
    RowReader,
    asked,
    build_pair,
    required,
)
from synpref_dagster.sources.records import ParsedRow, RowRejected, SourceSpec

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def parse_transcript(transcript: str) -> list[Turn]:
    r"""Messages of a transcript, contents stripped; a marker counts at a paragraph start only.

    Raises RowRejected for text that does not begin with a turn.

    >>> parse_transcript("\n\nHuman: Hi\n\nAssistant: Human: is what I am.")[1]["content"]
    'Human: is what I am.'
    """
    before, *parts = _TURN.split(transcript)
    if before.strip() or not parts:
        raise RowRejected("not_a_transcript", detail="text before the first turn")
    return [
        Turn(role=_ROLES[speaker], content=content.strip())
        for speaker, content in zip(parts[::2], parts[1::2], strict=True)
    ]


def _is_transcript_pair(row: Row) -> bool:
    sides = (row.get("chosen"), row.get("rejected"))
    return row.get("prompt") is None and all(
        isinstance(side, str) and side.lstrip().startswith("Human:") and "\n\nAssistant:" in side
        for side in sides
    )


def _make_reader(spec: SourceSpec) -> RowReader:
    def read(row: Row, number: int) -> ParsedRow:
        sides = required(row, "chosen", "rejected")
        if any(side is None or side == "" for side in sides):
            raise RowRejected("empty_response")
        if not all(isinstance(side, str) for side in sides):
            raise RowRejected("not_text")
        chosen, rejected = map(parse_transcript, sides)
        responses = (chosen, rejected)
        return ParsedRow(
            build_pair(spec, number, conversation=asked(row.get("prompt")), responses=responses)
        )

    return read


HH_TRANSCRIPTS = RowFormat(
    name="hh_transcripts",
    layout='chosen and rejected: "\\n\\nHuman: ...\\n\\nAssistant: ..." transcripts',
    matches=_is_transcript_pair,
    make_reader=_make_reader,
    columns=frozenset({"prompt", "chosen", "rejected"}),
    asks="prompt",
)
