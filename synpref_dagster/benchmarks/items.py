"""The canonical benchmark item, and the score table every protocol reads.

An item is one conversation with two or more candidates of known correctness. A score table holds
one row per (benchmark, item, candidate); a missing or non-finite reward is an error, never a zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synpref_dagster.pairs.record import conversation_id, first_user_turn
from synpref_dagster.pairs.texts import Conversation

Rewards = NDArray[np.float64]
SCORE_COLUMNS = ("benchmark", "item_id", "candidate", "reward", "num_tokens", "truncated")


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkItem:
    """One question of a benchmark: a conversation and candidates with known correctness.

    `labels` holds 1 for a right candidate and 0 for a wrong one, in the order of `candidates`;
    right candidates come first wherever the benchmark has no order of its own. An item whose
    candidates are all right is a tie between people and takes no part in an accuracy. `group` is
    the benchmark's own subset, set, part, domain or category.
    """

    benchmark: str
    item_id: str
    group: str
    conversation: Conversation
    candidates: tuple[str, ...]
    labels: tuple[int, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError when candidates and labels do not describe a comparison."""
        where = f"{self.benchmark} item {self.item_id!r}"
        if len(self.candidates) < 2 or len(self.labels) != len(self.candidates):
            raise ValueError(
                f"{where}: {len(self.candidates)} candidates and {len(self.labels)} labels; "
                "give at least two candidates and one label for each"
            )
        if not set(self.labels) <= {0, 1}:
            raise ValueError(f"{where}: labels {self.labels} must be 0 (wrong) or 1 (right)")
        if not self.conversation or self.conversation[-1]["role"] != "user":
            raise ValueError(f"{where}: the conversation must end with a user turn")

    @property
    def num_correct(self) -> int:
        """Number of right candidates."""
        return sum(self.labels)


def labels_first(num_correct: int, total: int) -> tuple[int, ...]:
    """Labels of `total` candidates of which the first `num_correct` are right.

    >>> labels_first(1, 4)
    (1, 0, 0, 0)
    """
    return (1,) * num_correct + (0,) * (total - num_correct)


def first_turn_prompts(items: Sequence[BenchmarkItem]) -> list[tuple[str, str, str]]:
    """(benchmark, item_id, first user turn) per item: what the pool is decontaminated against."""
    return [(item.benchmark, item.item_id, first_user_turn(item.conversation)) for item in items]


def distinct_candidates(items: Sequence[BenchmarkItem]) -> list[tuple[Conversation, str]]:
    """Each distinct (conversation, response) of the items once, in order of first appearance."""
    distinct: dict[tuple[bytes, str], tuple[Conversation, str]] = {}
    for item in items:
        identity = conversation_id(item.conversation)
        for response in item.candidates:
            distinct.setdefault((identity, response), (item.conversation, response))
    return list(distinct.values())


def spread_scores(items: Sequence[BenchmarkItem], scores: pd.DataFrame) -> pd.DataFrame:
    """Score table of the items from the scores of their distinct candidates.

    Args:
        items: items of any number of benchmarks.
        scores: reward, num_tokens and truncated, one row per `distinct_candidates(items)`.

    Raises:
        ValueError: there are more or fewer rows than distinct candidates.
    """
    distinct = distinct_candidates(items)
    if len(scores) != len(distinct):
        raise ValueError(
            f"{len(scores)} scores for {len(distinct)} distinct candidates; score each once"
        )
    position = {
        (conversation_id(conversation), response): index
        for index, (conversation, response) in enumerate(distinct)
    }
    rows = list(_candidate_rows(items, position))
    where = np.array([row[3] for row in rows], dtype=np.int64)
    return pd.DataFrame(
        {
            "benchmark": pd.Series([row[0] for row in rows], dtype="str"),
            "item_id": pd.Series([row[1] for row in rows], dtype="str"),
            "candidate": np.array([row[2] for row in rows], dtype=np.int32),
            "reward": scores["reward"].to_numpy(np.float32)[where],
            "num_tokens": scores["num_tokens"].to_numpy(np.int32)[where],
            "truncated": scores["truncated"].to_numpy(bool)[where],
        }
    )


def align_rewards(items: Sequence[BenchmarkItem], table: pd.DataFrame) -> list[Rewards]:
    """Rewards of each item's candidates, in the order of the items and their candidates.

    Rows of other items are ignored. Values are float64 so that margins are exact; two rewards that
    were equal as float32 stay equal.

    Raises:
        ValueError: a candidate has no reward, has two, or has one that is not finite.
    """
    sizes = np.array([len(item.candidates) for item in items], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    index = pd.MultiIndex.from_arrays(
        [[item.benchmark for item in items], [item.item_id for item in items]]
    )
    if not index.is_unique:
        raise ValueError(f"items must have unique ids; twice: {index[index.duplicated()][0]}")
    keys = pd.MultiIndex.from_arrays([table["benchmark"], table["item_id"]])
    owner = index.get_indexer(keys)
    ours = owner >= 0
    owner, candidate = owner[ours], table["candidate"].to_numpy()[ours].astype(np.int64)
    outside = (candidate < 0) | (candidate >= sizes[owner])
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise ValueError(f"{_name(items[owner[first]])} has no candidate {candidate[first]}")
    flat = np.full(int(offsets[-1]), np.nan)
    place = offsets[owner] + candidate
    flat[place] = table["reward"].to_numpy(dtype=np.float64)[ours]
    _check_complete(items, offsets, place=place, flat=flat)
    return [flat[start:stop] for start, stop in pairwise(offsets)]


def tie_rate(items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]) -> float:
    """Share of (right, wrong) candidate pairs of all items whose rewards are exactly equal."""
    num_ties = num_pairs = 0
    for item, reward in zip(items, rewards, strict=True):
        right = np.array(item.labels, dtype=bool)
        num_ties += int(np.equal.outer(reward[right], reward[~right]).sum())
        num_pairs += int(right.sum() * (~right).sum())
    return num_ties / num_pairs if num_pairs else 0.0


def _candidate_rows(
    items: Sequence[BenchmarkItem], position: Mapping[tuple[bytes, str], int]
) -> Iterator[tuple[str, str, int, int]]:
    for item in items:
        identity = conversation_id(item.conversation)
        for candidate, response in enumerate(item.candidates):
            yield item.benchmark, item.item_id, candidate, position[identity, response]


def _check_complete(
    items: Sequence[BenchmarkItem], offsets: NDArray[Any], *, place: NDArray[Any], flat: Rewards
) -> None:
    counts = np.bincount(place, minlength=len(flat))
    for problem, bad in (
        ("has more than one reward", counts > 1),
        ("has no reward", counts == 0),
        ("has a reward that is not finite", ~np.isfinite(flat)),
    ):
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            owner = int(np.searchsorted(offsets, first, side="right")) - 1
            raise ValueError(
                f"{_name(items[owner])}: candidate {first - offsets[owner]} {problem} "
                f"({int(bad.sum())} candidates in all); score every candidate exactly once"
            )


def _name(item: BenchmarkItem) -> str:
    return f"{item.benchmark} item {item.item_id!r}"
