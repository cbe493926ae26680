"""Pairs with crowd votes: {prompt, response_a, response_b, votes: [{worker, value}], debate}.

One seeded random vote among those that are not "equal" becomes the noisy source label; all votes
become recorded verdicts, to be revealed when people are asked. The draw goes by content: a row
repeated elsewhere, or with its responses swapped, keeps its label. Worker ids never leave the
reader: a key stands for each (see `annotators`). A decided gold column is not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synpref_dagster.pairs.record import canonical_sign
from synpref_dagster.sources.annotators import annotator_key
from synpref_dagster.sources.formats.fields import (
    Drawing,
    Row,
    RowFormat,
    RowReader,
    build_pair,
    required,
    user_turn,
)
from synpref_dagster.sources.records import ParsedRow, RecordedVerdict, RowRejected, SourceSpec

_VOTES = {"a": 1, "b": -1, "equal": 0}
"""Sign of a vote: +1 when response_a is better."""


def _looks_like_votes(row: Row) -> bool:
    return {"prompt", "response_a", "response_b", "votes"} <= set(row)


def _make_reader(spec: SourceSpec, seed: int) -> RowReader:
    """Reader with `debates`, `exclude_debates` (names), `flip_share`, `longer_share` (0 to 1).

    The latter two put noise into the labels: some are turned round, some say that the longer
    response is better whatever the votes say.

    The label depends on the seed, the pair's content and its votes only: neither the place of a
    row, nor the order of its responses or votes, nor the selected debates change it.
    """
    include = _names(spec, "debates")
    exclude = _names(spec, "exclude_debates") or frozenset()
    flip_share, longer_share = _share(spec, "flip_share"), _share(spec, "longer_share")

    def read(row: Row, number: int) -> ParsedRow | None:
        prompt, first, second, votes = required(row, "prompt", "response_a", "response_b", "votes")
        cast = [(annotator_key(worker), sign) for worker, sign in _read_votes(votes)]
        debate = row.get("debate")
        if not isinstance(debate, str | None):
            raise RowRejected("not_text", detail="debate must be a name")
        if (include is not None and debate not in include) or debate in exclude:
            return None
        if not any(sign for _, sign in cast):
            raise RowRejected("no_preference", detail=f"{len(cast)} votes, none of them decided")
        as_shown = build_pair(
            spec,
            number,
            conversation=user_turn(prompt),
            responses=(first, second),
            meta={"debate": debate},
        )
        to_sorted = canonical_sign(as_shown.chosen, as_shown.rejected)
        signs = [(annotator, sign * to_sorted) for annotator, sign in cast]
        key = (seed, int.from_bytes(as_shown.content_id, "big"))
        longer = np.sign(len(as_shown.chosen) - len(as_shown.rejected)) * to_sorted
        label = _draw_label(
            [sign for _, sign in signs],
            key,
            flip_share=flip_share,
            longer=int(longer),
            longer_share=longer_share,
        )
        verdicts = (RecordedVerdict(as_shown.content_id, *vote) for vote in signs)
        return ParsedRow(as_shown if label == to_sorted else as_shown.flipped(), tuple(verdicts))

    return read


def _draw_label(
    signs: Sequence[int],
    key: tuple[int, int],
    *,
    flip_share: float,
    longer: int,
    longer_share: float,
) -> int:
    """+1 or -1: one of the votes that are no ties, turned round with probability `flip_share`.

    With probability `longer_share` it is the sign of the longer response instead. Votes against
    the sorted order give a label against the sorted order. One number is drawn for the vote however
    many votes there are, so that a vote added to a repeated pair seldom changes its label.
    """
    num_decided = sum(sign != 0 for sign in signs)
    rng = np.random.default_rng(key)
    label = 1 if rng.random() * num_decided < signs.count(1) else -1
    label = -label if rng.random() < flip_share else label
    return longer if longer and rng.random() < longer_share else label


def _read_votes(votes: Any) -> list[tuple[str, int]]:
    """(worker, sign) per vote; raises RowRejected unless every vote is understood."""
    if not isinstance(votes, list):
        raise RowRejected("malformed_votes", detail=f"votes: {type(votes).__name__}, not a list")
    read = []
    for vote in votes:
        if not isinstance(vote, Mapping) or not isinstance(vote.get("worker"), str):
            raise RowRejected("malformed_votes", detail="a vote needs a worker and a value")
        value = vote.get("value")
        if not isinstance(value, str) or value not in _VOTES:
            raise RowRejected("malformed_votes", detail=f"vote {value!r}: not a, b or equal"[:200])
        read.append((vote["worker"], _VOTES[value]))
    return read


def _names(spec: SourceSpec, option: str) -> frozenset[str] | None:
    names = spec.options.get(option)
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"source {spec.name!r}: {option} {names!r} must be a list of names")
    return frozenset(names)


def _share(spec: SourceSpec, option: str) -> float:
    share = spec.options.get(option, 0.0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"source {spec.name!r}: {option} {share!r} must be from 0 to 1")
    return float(share)


CROWD_VOTES = RowFormat(
    name="crowd_votes",
    layout="prompt, response_a, response_b: text; votes: [{worker, value: a, b or equal}]",
    matches=_looks_like_votes,
    make_reader=Drawing(_make_reader),
    columns=frozenset({"prompt", "response_a", "response_b", "votes", "debate"}),
    asks="prompt",
    options=frozenset({"debates", "exclude_debates", "flip_share", "longer_share"}),
)
