"""Accuracy of a reward model on labelled pairs: strict, with ties counted and an interval.

Accuracy is the share of pairs with margin > 0 over all pairs, never a mean of batch means. A tie
is a wrong prediction, and its share is reported beside the accuracy. No torch here.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synpref_dagster.pairs.accuracy import wilson_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Accuracy on a set of pairs after a number of optimizer steps.

    Attributes:
        step: Optimizer steps taken when the pairs were scored.
        num_pairs: Pairs scored.
        accuracy: Share of pairs with margin > 0.
        tie_rate: Share of pairs with margin exactly 0.
        low: Lower end of the 95% Wilson interval of the accuracy.
        high: Upper end.
        loss: Mean Bradley-Terry loss, in nats.
    """

    step: int
    num_pairs: int
    accuracy: float
    tie_rate: float
    low: float
    high: float
    loss: float

    def to_json(self) -> dict[str, Any]:
        """The fields as a plain dictionary."""
        return asdict(self)


def evaluate_margins(margins: npt.ArrayLike, *, step: int = 0) -> Evaluation:
    """Evaluation of margins reward(chosen) - reward(rejected), one per pair.

    Args:
        margins: (n,) real numbers, at least one.
        step: Optimizer steps behind the rewards.

    Raises:
        ValueError: If there is no margin, or one that is not finite.
    """
    margin_n = np.asarray(margins, dtype=np.float64).reshape(-1)
    if not np.isfinite(margin_n).all():
        raise ValueError(f"{int((~np.isfinite(margin_n)).sum())} margins are not finite")
    num_pairs = len(margin_n)
    if not num_pairs:
        raise ValueError("there are no margins: an accuracy needs at least one pair")
    num_right = int((margin_n > 0).sum())
    low, high = wilson_interval(num_right, num_pairs)
    return Evaluation(
        step=step,
        num_pairs=num_pairs,
        accuracy=num_right / num_pairs,
        tie_rate=float((margin_n == 0).sum()) / num_pairs,
        low=low,
        high=high,
        loss=float(np.logaddexp(0.0, -margin_n).sum()) / num_pairs,
    )
