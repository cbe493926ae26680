"""Consistency filter of stage 2 (paper Sec. 3.3): every pair is kept, flipped or discarded.

Three witnesses speak about the source label of a pair: the gold RM, the best RM, and the judges.
A human verdict beats them all. The three outcomes partition the pool exactly, each with a reason.
Flips are strict (all three witnesses disagree with the label) and pass a guard that estimates
their precision on gold first: where sources are good, a model that disagrees is usually wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import Accuracy, accuracy_of, confidence
from synpref_dagster.pairs.differences import Measured

if TYPE_CHECKING:  # Importing pandas costs as much as filtering a million rows.
    import pandas as pd

Recycle = Literal["strict", "all", "none"]
KEPT, FLIPPED, DISCARDED = "kept", "flipped", "discarded"
DECISIONS = (KEPT, FLIPPED, DISCARDED)
REASONS: Mapping[str, str] = {  # reason code -> decision it belongs to
    "human_agrees": KEPT,
    "gold_and_best_agree": KEPT,
    "gold_and_judges_agree": KEPT,
    "all_agree": KEPT,
    "human_disagrees": FLIPPED,
    "all_disagree": FLIPPED,
    "recycled_all": FLIPPED,
    "human_undecided": DISCARDED,
    "missing_reward": DISCARDED,
    "reward_tie": DISCARDED,
    "judges_undecided": DISCARDED,
    "flip_guarded": DISCARDED,
    "split_evidence": DISCARDED,
}
GUARD_THRESHOLDS = (0.5, 0.4, 0.3, 0.2, 0.1)
"""Candidate values of `FlipGuard.max_confidence`, loosest first; the first that passes is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipGuard:
    """How sure both reward models must be before a flip, and what gold says about such flips."""

    max_confidence: float
    """A flip needs p < this under both reward models; 0 forbids every flip."""
    precision: Accuracy
    """Estimated share of right flips at that threshold, measured on gold."""
    floor: float
    """The lower bound of `precision` that was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardConfig:
    """How the flip guard is estimated."""

    floor: float = 0.6
    """Flips are allowed where the lower bound of their precision on gold reaches this."""
    min_flips: int = 10
    """Fewer flips than this on gold are no evidence, so the guard stays shut."""

    def __post_init__(self) -> None:
        """Raise ValueError for a floor that is no share."""
        if not 0.0 <= self.floor <= 1.0:
            raise ValueError(f"floor is {self.floor}, must be a share in [0, 1]")


def estimate_flip_guard(evidence: Witnesses, *, config: GuardConfig) -> FlipGuard:
    """Find the loosest confidence threshold at which flips are right often enough on gold.

    Args:
        evidence: gold pairs with `human_label` in {+1, -1}; the margins must come from models that
            did not train on the pair (cross-fitted), the judges must not have seen it as exemplar.
        config: floor and the least number of flips.

    Returns:
        The guard; `max_confidence` is 0 when no threshold passes, and `precision` is then that of
        the loosest threshold, so that the report can say why flips were refused.
    """
    right = evidence.human_label == -1
    flips = _all_disagree(evidence)
    surest = np.maximum(confidence(evidence.gold_margin), confidence(evidence.best_margin))
    tried = []
    for threshold in GUARD_THRESHOLDS:
        precision = accuracy_of(right[flips & (surest < threshold)])
        if precision.n >= config.min_flips and precision.low >= config.floor:
            return FlipGuard(max_confidence=threshold, precision=precision, floor=config.floor)
        tried.append(precision)
    return FlipGuard(max_confidence=0.0, precision=tried[0], floor=config.floor)


def decide(
    witnesses: Witnesses, *, guard: FlipGuard, recycle: Recycle = "strict"
) -> tuple[np.ndarray, np.ndarray]:
    """Decision and reason of every pair, in the order of the rules below.

    A human verdict decides; else kept when the gold RM and at least one of {best RM, judges} agree
    with the label; flipped when all three disagree and the guard lets it pass; else discarded.

    Args:
        witnesses: n pairs.
        guard: from `estimate_flip_guard`.
        recycle: `strict` as above; `none` flips only what people flipped; `all` flips the whole
            discarded pool except what people could not decide, as the paper's first experiment did.

    Returns:
        (decision, reason), object arrays of length n; `REASONS` maps one to the other.

    Raises:
        ValueError: unknown `recycle`.
    """
    if recycle not in ("strict", "all", "none"):
        raise ValueError(f"recycle is {recycle!r}, must be 'strict', 'all' or 'none'")
    gold_agrees = witnesses.gold_margin > 0
    best_agrees = witnesses.best_margin > 0
    judges_agree = witnesses.judge_label > 0
    disagree = _all_disagree(witnesses)
    surest = np.maximum(confidence(witnesses.gold_margin), confidence(witnesses.best_margin))
    passes = (surest < guard.max_confidence) if recycle != "none" else np.zeros(len(surest), bool)
    # First match wins: the order of this list is the rule.
    rules: list[tuple[str, np.ndarray]] = [
        ("human_agrees", witnesses.human_seen & (witnesses.human_label > 0)),
        ("human_disagrees", witnesses.human_seen & (witnesses.human_label < 0)),
        ("human_undecided", witnesses.human_seen),
        ("all_agree", gold_agrees & best_agrees & judges_agree),
        ("gold_and_best_agree", gold_agrees & best_agrees),
        ("gold_and_judges_agree", gold_agrees & judges_agree),
        ("missing_reward", np.isnan(witnesses.gold_margin) | np.isnan(witnesses.best_margin)),
        ("reward_tie", (witnesses.gold_margin == 0) | (witnesses.best_margin == 0)),
        ("all_disagree", disagree & passes),
        ("flip_guarded", disagree),
        ("judges_undecided", ~best_agrees & (witnesses.judge_label == 0)),
    ]
    reason = np.select(
        [match for _, match in rules], [name for name, _ in rules], default="split_evidence"
    ).astype(object)
    decision = np.array([REASONS[name] for name in reason], dtype=object)
    if recycle == "all":
        swept = (decision == DISCARDED) & (reason != "human_undecided")
        decision[swept], reason[swept] = FLIPPED, "recycled_all"
    return decision, reason


def count_decisions(decisions: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Number of pairs per decision and reason, optionally also by other columns."""
    keys = [*by, "decision", "reason"]
    counts = decisions.groupby(keys, sort=True, observed=True).size()
    return counts.rename("num_pairs").reset_index()


def flip_precision_of_rules(evidence: Witnesses) -> dict[str, dict[str, Accuracy]]:
    """Precision of keeping and flipping under each witness alone and under all (paper Tab. 19).

    Args:
        evidence: pairs with a known right label in `human_label` (+1 or -1).

    Returns:
        rule -> {"kept": ..., "flipped": ...}; rules are best_rm, gold_rm, judges, consistency.
    """
    return {
        rule: {part: found.accuracy() for part, found in parts.items()}
        for rule, parts in measured_by_rule(evidence).items()
    }


def measured_by_rule(evidence: Witnesses) -> dict[str, dict[str, Measured]]:
    """Which pairs each rule keeps and flips, and where it is right to do so."""
    right = evidence.human_label
    gold, best = np.sign(evidence.gold_margin), np.sign(evidence.best_margin)
    judges = evidence.judge_label
    kept = {
        "best_rm": best > 0,
        "gold_rm": gold > 0,
        "judges": judges > 0,
        "consistency": (gold > 0) & ((best > 0) | (judges > 0)),
    }
    flipped = {
        "best_rm": best < 0,
        "gold_rm": gold < 0,
        "judges": judges < 0,
        "consistency": _all_disagree(evidence),
    }
    return {
        rule: {
            KEPT: Measured(right=right > 0, counted=kept[rule]),
            FLIPPED: Measured(right=right < 0, counted=flipped[rule]),
        }
        for rule in kept
    }


def _all_disagree(witnesses: Witnesses) -> np.ndarray:
    return np.asarray(
        (witnesses.gold_margin < 0) & (witnesses.best_margin < 0) & (witnesses.judge_label < 0)
    )
