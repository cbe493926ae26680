"""How much more often one thing is right than another, with an interval of the difference itself.

Two overlapping intervals say little about a difference: on the same items both shares move
together. Here the Wilson limits of both are combined by the correlation of the two shares
(Newcombe's hybrid score intervals, Statistics in Medicine 17, 1998: 857-872 and 2635-2650). The
same formula serves shares over the same items, over overlapping parts of them, and over others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from synpref_dagster.pairs.accuracy import Z_95, Accuracy, accuracy_of, wilson_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """For n items: which are counted, and which are right."""

    right: np.ndarray
    """bool (n,): read only where the item counts."""
    counted: np.ndarray
    """bool (n,): whether the item counts, e.g. whether a rule keeps the pair."""

    def accuracy(self) -> Accuracy:
        """The share of right ones among those that count."""
        return accuracy_of(self.right[self.counted])


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A difference of shares with its 95% interval; all NaN where a share is unknown."""

    value: float
    low: float
    high: float
    n: int
    """Items behind the share that rests on fewer."""


def everywhere(right: np.ndarray) -> Measured:
    """`Measured` with all items counted."""
    return Measured(right=right, counted=np.ones(len(right), dtype=bool))


def difference(first: Measured, second: Measured) -> Difference:
    """How much more often `first` is right than `second`; both are about the same list of items.

    >>> many, few = np.arange(100) < 90, np.arange(100) < 70
    >>> found = difference(everywhere(many), everywhere(few))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.2, 0.12, 0.284)

    Raises:
        ValueError: the two are about lists of different lengths.
    """
    if len(first.right) != len(second.right):
        raise ValueError(f"{len(first.right)} items beside {len(second.right)}: must be the same")
    one, other = first.accuracy(), second.accuracy()
    if min(one.n, other.n) == 0:
        return Difference(value=nan, low=nan, high=nan, n=0)
    return _between(one, other, _correlation(first, second))


def apart(one: Accuracy, other: Accuracy, *, z: float = Z_95) -> Difference:
    """How much larger one share is than another that is about other items.

    >>> shares = [Accuracy(0.9, 0.0, 0.0, 100), Accuracy(0.7, 0.0, 0.0, 100)]
    >>> found = apart(*shares)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.2, 0.09, 0.306)

    Args:
        one: the first share; its interval is not read.
        other: what it is held against.
        z: how wide the interval is, in standard deviations.
    """
    if not one.n or not other.n:
        return Difference(value=nan, low=nan, high=nan, n=0)
    ends = [wilson_interval(each.value * each.n, each.n, z=z) for each in (one, other)]
    first, second = (
        Accuracy(each.value, low, high, each.n)
        for each, (low, high) in zip((one, other), ends, strict=True)
    )
    return _between(first, second, 0.0)


def share(measured: Measured) -> Difference:
    """A share by itself, as a difference from nothing: for a claim about one number."""
    found = measured.accuracy()
    return Difference(value=found.value, low=found.low, high=found.high, n=found.n)


def least(differences: Iterable[Difference]) -> Difference:
    """The weakest of several differences: what holds for it holds for all of them."""
    found = list(differences)
    # np.min, unlike min, is NaN wherever one of its numbers is: no evidence, no claim.
    ends = np.min([(each.value, each.low, each.high) for each in found], axis=0)
    value, low, high = (float(end) for end in ends)
    return Difference(value=value, low=low, high=high, n=min(each.n for each in found))


def _between(one: Accuracy, other: Accuracy, correlation: float) -> Difference:
    value = one.value - other.value
    below = _combined(one.value - one.low, other.high - other.value, correlation)
    above = _combined(one.high - one.value, other.value - other.low, correlation)
    return Difference(value=value, low=value - below, high=value + above, n=min(one.n, other.n))


def _combined(one: float, other: float, correlation: float) -> float:
    return sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))


def _correlation(first: Measured, second: Measured) -> float:
    """Correlation of the two shares, with Newcombe's continuity correction when it is positive."""
    both = first.counted & second.counted
    one, other = first.accuracy(), second.accuracy()
    spread = sqrt(one.n * one.value * (1 - one.value) * other.n * other.value * (1 - other.value))
    if spread == 0.0:
        return 0.0
    mine, theirs = first.right[both], second.right[both]
    # Of counts, not a sum over items: the last digit must not depend on their order.
    num_mine, num_theirs, num_both = (int(each.sum()) for each in (mine, theirs, mine & theirs))
    moved = (
        num_both
        - one.value * num_theirs
        - other.value * num_mine
        + one.value * other.value * int(both.sum())
    )
    return (max(0.0, moved - 0.5) if moved > 0 else moved) / spread
