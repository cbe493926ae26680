"""Pairs with crowd votes: {prompt, response_a, response_b, votes: [{worker, value}], debate}.

One seeded random vote among those that are not "equal" becomes the noisy source label; all votes
become recorded verdicts, to be revealed when people are asked. Worker ids never leave the reader:
a key stands for each (see `annotators`). A decided gold column is not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synpref_dagster.curation.pairs import PreferencePair, canonical_sign
from synpref_dagster.sources.annotators import annotator_key
from synpref_dagster.sources.formats import Row, RowFormat, RowReader, build_pair, required
from synpref_dagster.sources.records import ParsedRow, RecordedVerdict, RowRejected, SourceSpec

_VOTES = {"a": 1, "b": -1, "equal": 0}
"""Sign of a vote: +1 when response_a is better."""


def _looks_like_votes(row: Row) -> bool:
    return {"prompt", "response_a", "response_b", "votes"} <= set(row)


def _make_reader(spec: SourceSpec, seed: int) -> RowReader:
    """Reader with the options `debates` and `exclude_debates` (names) and `flip_share` (0 to 1).

    The drawn vote depends on the seed and the row number only, never on the selected debates.
    """
    include = _names(spec, "debates")
    exclude = _names(spec, "exclude_debates") or frozenset()
    flip_share = _flip_share(spec)

    def read(row: Row, number: int) -> ParsedRow | None:
        prompt, first, second, votes = required(row, "prompt", "response_a", "response_b", "votes")
        cast = [(annotator_key(worker), sign) for worker, sign in _read_votes(votes)]
        debate = row.get("debate")
        if not isinstance(debate, str | None):
            raise RowRejected("not_text", detail="debate must be a name")
        if (include is not None and debate not in include) or debate in exclude:
            return None
        label = _draw_label([sign for _, sign in cast], (seed, number), flip_share=flip_share)
        pair = build_pair(
            spec,
            number,
            conversation=[{"role": "user", "content": prompt}],
            responses=(first, second) if label > 0 else (second, first),
            meta={"debate": debate},
        )
        return ParsedRow(pair, _verdicts(pair, cast, first_is_chosen=label > 0))

    return read


def _draw_label(signs: Sequence[int], key: tuple[int, int], *, flip_share: float) -> int:
    """+1 or -1: one vote that is not a tie, turned round with probability `flip_share`."""
    decided = [sign for sign in signs if sign]
    if not decided:
        raise RowRejected("no_preference", detail=f"{len(signs)} votes, none of them decided")
    rng = np.random.default_rng(key)
    label = decided[rng.integers(len(decided))]
    return -label if rng.random() < flip_share else label


def _verdicts(
    pair: PreferencePair, votes: Sequence[tuple[str, int]], *, first_is_chosen: bool
) -> tuple[RecordedVerdict, ...]:
    to_sorted = canonical_sign(pair.chosen, pair.rejected) * (1 if first_is_chosen else -1)
    return tuple(
        RecordedVerdict(pair.content_id, annotator, sign * to_sorted) for annotator, sign in votes
    )


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


def _flip_share(spec: SourceSpec) -> float:
    share = spec.options.get("flip_share", 0.0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"source {spec.name!r}: flip_share {share!r} must be from 0 to 1")
    return float(share)


CROWD_VOTES = RowFormat(
    name="crowd_votes",
    layout="prompt, response_a, response_b: text; votes: [{worker, value: a, b or equal}]",
    matches=_looks_like_votes,
    make_reader=_make_reader,
    options=frozenset({"debates", "exclude_debates", "flip_share"}),
)
