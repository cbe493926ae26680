"""PandaLM's test set: instruction, input, two responses, three people's choices (1, 2 or 0 = tie).

The majority is the label, all choices become recorded verdicts. No majority, or a majority for
the tie, is no preference.
"""

from collections import Counter

from synpref_dagster.pairs.record import canonical_sign
from synpref_dagster.sources.formats.fields import (
    Row,
    RowFormat,
    RowReader,
    finite,
    labelled_pair,
    required,
    user_turn,
)
from synpref_dagster.sources.records import ParsedRow, RecordedVerdict, RowRejected, SourceSpec

_ANNOTATORS = ("annotator1", "annotator2", "annotator3")
_COLUMNS = ("instruction", "response1", "response2", *_ANNOTATORS)
_SIGNS = {1.0: 1, 2.0: -1, 0.0: 0}


def _make_reader(spec: SourceSpec) -> RowReader:
    """Reader of rows with three annotators, who are the same three people in every row."""

    def read(row: Row, number: int) -> ParsedRow:
        instruction, first, second, *choices = required(row, *_COLUMNS)
        signs = [_sign(choice) for choice in choices]
        [(majority, count), *_] = Counter(signs).most_common()
        pair = labelled_pair(
            spec,
            number,
            conversation=user_turn(instruction),
            responses=(first, second),
            sign=majority if count > 1 else 0,
        )
        # The majority's response is the chosen one.
        to_sorted = canonical_sign(pair.chosen, pair.rejected) * majority
        return ParsedRow(
            pair,
            tuple(
                RecordedVerdict(pair.content_id, name, sign * to_sorted)
                for name, sign in zip(_ANNOTATORS, signs, strict=True)
            ),
        )

    return read


def _sign(choice: object) -> int:
    number = finite(choice)
    if number is None or number not in _SIGNS:
        raise RowRejected("malformed_votes", detail=f"choice {choice!r}: not 0, 1 or 2"[:200])
    return _SIGNS[number]


PANDALM = RowFormat(
    name="pandalm",
    layout="instruction, input, response1, response2, annotator1, annotator2, annotator3",
    matches=lambda row: set(_COLUMNS) <= set(row),
    make_reader=_make_reader,
    columns=frozenset(_COLUMNS),
    asks="instruction",
)
