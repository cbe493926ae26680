"""UltraFeedback: four rated completions per instruction, and the binarised message lists.

Ratings become pairs as in `sources.ranked`. A binarised row keeps its label only where its two
scores agree with it: equal scores are a tie, whatever stands under `chosen`.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from synpref_dagster.sources.foreign.messages import is_messages
from synpref_dagster.sources.foreign.stored import may_store
from synpref_dagster.sources.formats.fields import (
    Row,
    RowFormat,
    RowReader,
    asked,
    build_pair,
    finite,
    one_of,
    required,
    user_turn,
)
from synpref_dagster.sources.formats.ranked import (
    RANKED_OPTIONS,
    check_gap,
    check_ranked_options,
    unfold,
)
from synpref_dagster.sources.records import ParsedRow, RowRejected, SourceSpec, Unfolded

RATINGS = ("fine-grained_score", "overall_score")
"""Mean of the four aspect ratings first: the overall score of early releases was misread."""
_SCORE_COLUMNS = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"),
)


def _is_rated(row: Row) -> bool:
    completions = row.get("completions")
    return (
        "instruction" in row
        and isinstance(completions, list)
        and all(isinstance(one, Mapping) and "response" in one for one in completions)
    )


def _read_rated(spec: SourceSpec) -> RowReader:
    """Reader of {instruction, completions}; option `rating` names the score that is compared."""
    rating = one_of(spec, "rating", RATINGS)
    check_ranked_options(spec)

    def read(row: Row, number: int) -> Unfolded:
        instruction, completions = required(row, "instruction", "completions")
        if not isinstance(completions, list) or not all(
            isinstance(one, Mapping) for one in completions
        ):
            raise RowRejected("malformed_responses", detail="completions must be a list of objects")
        return unfold(
            spec,
            number,
            conversation=user_turn(instruction),
            responses=[one.get("response") for one in completions],
            scores=[one.get(rating) for one in completions],
        )

    return read


def _is_scored(row: Row) -> bool:
    sides = (row.get("chosen"), row.get("rejected"))
    return all(map(_may_be_messages, sides)) and _score_columns(row) is not None


def _may_be_messages(side: object) -> bool:
    """Messages, or a text that stores them: a table writes both columns so."""
    return is_messages(side) or (isinstance(side, str) and may_store(side))


def _score_columns(row: Row) -> tuple[str, str] | None:
    return next((names for names in _SCORE_COLUMNS if set(names) <= set(row)), None)


def _read_scored(spec: SourceSpec) -> RowReader:
    """Reader of two message lists with a score each; they repeat a prompt beside them."""
    _, min_gap = check_ranked_options(spec)

    def read(row: Row, number: int) -> ParsedRow:
        sides = required(row, "chosen", "rejected")
        if not all(map(_may_be_messages, sides)):
            raise RowRejected("malformed_conversation", detail="chosen and rejected: messages")
        _check_scores(row, min_gap=min_gap)
        return ParsedRow(
            build_pair(
                spec,
                number,
                conversation=asked(row.get("prompt")),
                responses=(sides[0], sides[1]),
            )
        )

    return read


def _check_scores(row: Row, *, min_gap: float) -> None:
    names = _score_columns(row)
    values: list[Any] = [row[name] for name in names] if names else []
    # Mixes hold rows from sources without scores: there the label stands alone.
    if not values or values == [None, None]:
        return
    chosen, rejected = map(finite, values)
    if chosen is None or rejected is None:
        raise RowRejected("missing_score", detail=f"{values!r}"[:200])
    if check_gap(chosen - rejected, min_gap=min_gap) < 0:
        raise RowRejected("label_against_score", detail=f"chosen {chosen:g}, rejected {rejected:g}")


ULTRAFEEDBACK_RATINGS = RowFormat(
    name="ultrafeedback_ratings",
    layout="instruction: text; completions: [{response, fine-grained_score, overall_score}]",
    matches=_is_rated,
    make_reader=_read_rated,
    columns=frozenset({"instruction", "completions"}),
    asks="instruction",
    options=RANKED_OPTIONS | {"rating"},
)
SCORED_MESSAGES = RowFormat(
    name="scored_messages",
    layout="chosen and rejected: messages, with score_chosen and score_rejected or the like",
    matches=_is_scored,
    make_reader=_read_scored,
    columns=frozenset({"prompt", "chosen", "rejected", *chain(*_SCORE_COLUMNS)}),
    asks="prompt",
    options=frozenset({"min_gap"}),
)
