"""The flip guard: how sure both reward models must be before a pair is flipped (paper Sec. 3.3).

The guard estimates the precision of flips on gold first: where sources are good, a model that
disagrees with the label is usually wrong. `decision.decide` obeys it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import Accuracy, accuracy_of, confidence

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
    flips = all_disagree(evidence)
    surest = np.maximum(confidence(evidence.gold_margin), confidence(evidence.best_margin))
    tried = []
    for threshold in GUARD_THRESHOLDS:
        precision = accuracy_of(right[flips & (surest < threshold)])
        if precision.n >= config.min_flips and precision.low >= config.floor:
            return FlipGuard(max_confidence=threshold, precision=precision, floor=config.floor)
        tried.append(precision)
    return FlipGuard(max_confidence=0.0, precision=tried[0], floor=config.floor)


def all_disagree(witnesses: Witnesses) -> np.ndarray:
    """Bool (n,): whether both reward models and the judges contradict the label."""
    return np.asarray(
        (witnesses.gold_margin < 0) & (witnesses.best_margin < 0) & (witnesses.judge_label < 0)
    )
