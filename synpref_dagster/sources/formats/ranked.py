"""Several scored responses to one conversation become pairs: the better one is chosen.

Two responses with the same score are a tie and never become a pair. Options: `pairing` is `all`
(every two responses) or `best_worst`; `min_gap` refuses pairs whose scores are closer than that.
"""

from collections.abc import Sequence
from itertools import combinations

from synpref_dagster.sources.formats.fields import finite, labelled_pair, one_of
from synpref_dagster.sources.records import ParsedRow, RowRejected, SourceSpec, Unfolded

PAIRINGS = ("all", "best_worst")
RANKED_OPTIONS = frozenset({"pairing", "min_gap"})


def check_ranked_options(spec: SourceSpec) -> tuple[str, float]:
    """(pairing, min_gap) of a specification; raises ValueError for values that are not legal."""
    gap = finite(spec.options.get("min_gap", 0))
    if gap is None or gap < 0:
        raise ValueError(
            f"source {spec.name!r}: min_gap {spec.options['min_gap']!r} must be a number from 0"
        )
    return one_of(spec, "pairing", PAIRINGS), gap


def unfold(
    spec: SourceSpec,
    number: int,
    *,
    conversation: object,
    responses: Sequence[object],
    scores: Sequence[object],
) -> Unfolded:
    """One outcome per two responses, higher score chosen; raises RowRejected for fewer than two.

    Candidates without a score, tied or closer than `min_gap` are refused one by one.
    """
    pairing, min_gap = check_ranked_options(spec)
    if len(responses) < 2:
        raise RowRejected("fewer_than_two_responses", detail=f"{len(responses)} responses")
    places = list(combinations(range(len(responses)), 2))
    if pairing == "best_worst":
        places = [_best_and_worst(scores)]
    outcomes: list[ParsedRow | RowRejected] = []
    for first, second in places:
        try:
            gap = _gap(scores, first, second, min_gap=min_gap)
            pair = labelled_pair(
                spec,
                number,
                conversation=conversation,
                responses=(responses[first], responses[second]),
                sign=gap,
                meta={"responses": [first, second]},
            )
            outcomes.append(ParsedRow(pair))
        except RowRejected as rejection:
            where = f"responses {first} and {second}"
            detail = f"{where}: {rejection.detail}" if rejection.detail else where
            outcomes.append(RowRejected(*rejection.reasons, detail=detail))
    return Unfolded(tuple(outcomes))


def check_gap(gap: float, *, min_gap: float) -> float:
    """The gap between two scores; raises RowRejected for a tie and for one below `min_gap`."""
    if gap == 0:
        raise RowRejected("tied", detail="equal scores")
    if abs(gap) < min_gap:
        raise RowRejected("small_gap", detail=f"scores differ by {abs(gap):g}")
    return gap


def _gap(scores: Sequence[object], first: int, second: int, *, min_gap: float) -> float:
    better, worse = finite(scores[first]), finite(scores[second])
    if better is None or worse is None:
        raise RowRejected("missing_score", detail=f"{scores[first]!r}, {scores[second]!r}"[:200])
    return check_gap(better - worse, min_gap=min_gap)


def _best_and_worst(scores: Sequence[object]) -> tuple[int, int]:
    found = [
        (score, place) for place, one in enumerate(scores) if (score := finite(one)) is not None
    ]
    if len(found) < 2:
        raise RowRejected("missing_score", detail="fewer than two scores")
    best = max(found, key=lambda item: (item[0], -item[1]))[1]
    worst = min(found, key=lambda item: (item[0], -item[1]))[1]
    return best, worst
