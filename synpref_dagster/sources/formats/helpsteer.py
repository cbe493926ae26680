"""HelpSteer 2 and 3: signed human preferences between two responses, and HelpSteer2's ratings.

A preference runs from -3 (first response) to 3 (second); 0 is a tie. The single annotators'
preferences become recorded verdicts; who found neither response valid (-100) prefers none and casts
no verdict. Ratings hold one response per row: neighbours of one prompt are compared.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from synpref_dagster.pairs.record import PreferencePair, canonical_sign
from synpref_dagster.sources.formats.fields import (
    Row,
    RowFormat,
    RowReader,
    finite,
    labelled_pair,
    one_of,
    required,
    user_turn,
)
from synpref_dagster.sources.formats.grouping import neighbours_of_one_prompt
from synpref_dagster.sources.formats.ranked import RANKED_OPTIONS, check_ranked_options, unfold
from synpref_dagster.sources.records import (
    ParsedRow,
    RecordedVerdict,
    RowRejected,
    SourceSpec,
    Unfolded,
)

_SCALE = 3
_NEITHER_VALID = -100
_RATINGS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
_TURN = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")
_ROLES = {"User": "user", "Assistant": "assistant"}
# (conversation, first, second, preference, list of single preferences, name of one inside)
_HELPSTEER2 = (
    "prompt",
    "response_1",
    "response_2",
    "preference_strength",
    "all_preferences_unprocessed",
    "strength",
)
_HELPSTEER3 = (
    "context",
    "response1",
    "response2",
    "overall_preference",
    "individual_preference",
    "score",
)


def parse_turns(prompt: str) -> list[dict[str, Any]]:
    r"""Messages of a prompt that marks later turns with <extra_id_1>User and Assistant.

    >>> [turn["role"] for turn in parse_turns("Hi\n<extra_id_1>Assistant\nHello\n"
    ...                                       "<extra_id_1>User\nBye")]
    ['user', 'assistant', 'user']
    """
    first, *others = _TURN.split(prompt)
    return user_turn(first) + [
        {"role": _ROLES[speaker], "content": content}
        for speaker, content in zip(others[::2], others[1::2], strict=True)
    ]


def _columns(row: Row) -> tuple[str, ...] | None:
    found = (names for names in (_HELPSTEER2, _HELPSTEER3) if set(names[:4]) <= set(row))
    return next(found, None)


def _read_preference(spec: SourceSpec) -> RowReader:
    """Reader of signed preferences of either release."""
    _, min_gap = check_ranked_options(spec)

    def read(row: Row, number: int) -> ParsedRow:
        names = _columns(row)
        if names is None:
            required(row, *_HELPSTEER3[:4])
        context, first, second, strength = (row[name] for name in (names or ())[:4])
        preference = _preference(strength)
        if 0 < abs(preference) < min_gap:
            raise RowRejected("small_gap", detail=f"preference {preference:g}")
        pair = labelled_pair(
            spec,
            number,
            conversation=_conversation(context),
            responses=(first, second),
            sign=-preference,
            meta={"preference": preference},
        )
        single = _single_preferences(row, names or ())
        return ParsedRow(pair, _verdicts(pair, single, first_is_chosen=preference < 0))

    return read


def _preference(strength: object) -> float:
    preference = finite(strength)
    if preference is None or abs(preference) > _SCALE:
        raise RowRejected("malformed_label", detail=f"preference {strength!r}: not -3 to 3"[:200])
    return preference


def _conversation(context: object) -> object:
    return parse_turns(context) if isinstance(context, str) else context


def _single_preferences(row: Row, names: Sequence[str]) -> list[float | None]:
    """Preferences of single annotators in file order, None for "neither response is valid".

    Raises RowRejected for one not understood.
    """
    listed = row.get(names[4])
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise RowRejected("malformed_votes", detail=f"{names[4]}: not a list of objects")
    strengths = [one.get(names[5]) for one in listed]
    return [None if finite(one) == _NEITHER_VALID else _preference(one) for one in strengths]


def _verdicts(
    pair: PreferencePair, single: Sequence[float | None], *, first_is_chosen: bool
) -> tuple[RecordedVerdict, ...]:
    to_sorted = canonical_sign(pair.chosen, pair.rejected) * (1 if first_is_chosen else -1)
    # The data names no annotators: they are told apart by their place within the row only.
    return tuple(
        RecordedVerdict(pair.content_id, f"place_{place}", to_sorted * ((one < 0) - (one > 0)))
        for place, one in enumerate(single)
        if one is not None
    )


def _is_rated(row: Row) -> bool:
    return {"prompt", "response", *_RATINGS[:3]} <= set(row)


def _read_ratings(spec: SourceSpec) -> RowReader:
    """Reader of the joined rows of one prompt; option `rating` names the attribute compared."""
    rating = one_of(spec, "rating", _RATINGS)
    check_ranked_options(spec)

    def read(row: Row, number: int) -> Unfolded:
        prompt, rows = required(row, "prompt", "rows")
        return unfold(
            spec,
            number,
            conversation=_conversation(prompt),
            responses=[one.get("response") for one in rows],
            scores=[one.get(rating) for one in rows],
        )

    return read


HELPSTEER_PREFERENCE = RowFormat(
    name="helpsteer_preference",
    layout="prompt or context, two responses, preference_strength or overall_preference (-3 to 3)",
    matches=lambda row: _columns(row) is not None,
    make_reader=_read_preference,
    columns=frozenset({*_HELPSTEER2, *_HELPSTEER3}) - {"strength", "score"},
    options=frozenset({"min_gap"}),
)
HELPSTEER_RATINGS = RowFormat(
    name="helpsteer_ratings",
    layout="prompt, response, helpfulness, correctness, coherence: one response per row",
    matches=_is_rated,
    make_reader=_read_ratings,
    columns=frozenset({"prompt", "response", *_RATINGS}),
    options=RANKED_OPTIONS | {"rating"},
    group=neighbours_of_one_prompt,
)
