"""Shares with their uncertainty: every accuracy the pipeline reports is one of these.

Wilson intervals, because they stay inside [0, 1] and honest at small n, where a plain normal
interval does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

Z_95 = 1.96


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right ones among `n`, with its 95% Wilson interval; all NaN when `n` is 0."""

    value: float
    low: float
    high: float
    n: int


def wilson_interval(num_right: float, num_total: float, *, z: float = Z_95) -> tuple[float, float]:
    """Lower and upper end of the Wilson score interval of `num_right / num_total`.

    >>> low, high = wilson_interval(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)

    Raises:
        ValueError: counts are negative, or more are right than there are.
    """
    if not 0 <= num_right <= num_total:
        raise ValueError(f"num_right is {num_right}, must be between 0 and num_total = {num_total}")
    if num_total == 0:
        return nan, nan
    share = num_right / num_total
    scale = 1 + z * z / num_total
    centre = (share + z * z / (2 * num_total)) / scale
    half = z * sqrt(share * (1 - share) / num_total + z * z / (4 * num_total**2)) / scale
    # Rounding must not push an end past the share itself: error bars have no negative length.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def accuracy_of(right: np.ndarray) -> Accuracy:
    """Accuracy of a boolean array, one entry per judged pair."""
    num_right, num_total = int(np.count_nonzero(right)), len(right)
    low, high = wilson_interval(num_right, num_total)
    value = num_right / num_total if num_total else nan
    return Accuracy(value=value, low=low, high=high, n=num_total)


def confidence(margin: np.ndarray) -> np.ndarray:
    """P = sigmoid(margin): how probable the current label is under a reward model (Sec. 3.2).

    >>> [float(p) for p in confidence(np.array([0.0, np.inf, -np.inf]))]
    [0.5, 1.0, 0.0]
    """
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-margin)))
