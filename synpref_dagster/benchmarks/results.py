"""What a protocol returns: named scores, and the strata its headline is made of.

A headline is always a weighted sum of one statistic per stratum (a section's subset, a domain, a
category). Keeping it in that form lets one bootstrap serve all seven benchmarks: items are
resampled inside their stratum, so that a small subset keeps its place in the headline.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Statistic = Callable[[Rows], Rows]

CONFIDENCE_LEVEL = 0.95
NUM_RESAMPLES = 1000
# Resamples are drawn in blocks of at most this many row indices, which bounds memory at about
# 16 MB a column whatever the size of the benchmark.
BLOCK_ROWS = 2_000_000


def ratio_of_sums(rows: Rows) -> Rows:
    """Sum of column 0 over sum of column 1, over the last but one axis.

    Args:
        rows: float array (..., n, 2), one row per item: what it earned, what it could earn.

    Returns:
        Array of shape (...).
    """
    totals = rows.sum(axis=-2)
    share: Rows = totals[..., 0] / totals[..., 1]
    return share


@dataclass(frozen=True, kw_only=True, slots=True)
class Stratum:
    """Items resampled together, and their weight in the headline."""

    name: str
    weight: float
    rows: Rows
    statistic: Statistic = ratio_of_sums

    def __post_init__(self) -> None:
        """Raise ValueError for a stratum without items."""
        if not len(self.rows):
            raise ValueError(f"{self.name} has no items that can be scored")

    @property
    def value(self) -> float:
        """The statistic on all items."""
        return float(self.statistic(self.rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """All sub-scores of one protocol, and the strata whose weighted sum is its headline."""

    scores: dict[str, float]
    strata: tuple[Stratum, ...]

    @property
    def headline(self) -> float:
        """Weighted sum of the strata."""
        return sum(stratum.weight * stratum.value for stratum in self.strata)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkResult:
    """One checkpoint on one benchmark; every score is a share in [0, 1], not a percentage.

    `low` and `high` bound the headline (95% percentile bootstrap over items). `missing_subsets`
    names what a partial run did not measure: a headline with any is not the published figure.
    `longer` and `chance` are the headlines of preferring the longer response and of random rewards
    on the same items; None where they were not measured.
    """

    benchmark: str
    headline: float
    low: float
    high: float
    scores: dict[str, float]
    tie_rate: float
    num_items: int
    num_truncated: int
    missing_subsets: tuple[str, ...] = ()
    longer: float | None = None
    chance: float | None = None

    @property
    def complete(self) -> bool:
        """Whether every subset of the benchmark was measured."""
        return not self.missing_subsets


def share_stratum(name: str, weight: float, values: Sequence[float] | Rows) -> Stratum:
    """Stratum whose statistic is the mean of one value per item."""
    earned = np.asarray(values, dtype=np.float64)
    return Stratum(name=name, weight=weight, rows=np.stack([earned, np.ones_like(earned)], axis=-1))


def bootstrap_interval(
    strata: Sequence[Stratum], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> tuple[float, float]:
    """95% percentile interval of the headline, items resampled within their stratum.

    Args:
        strata: the measurement's strata.
        seed: the same seed gives the same interval.
        num_resamples: number of bootstrap replicates.

    Returns:
        (low, high).
    """
    rng = np.random.default_rng(seed)
    headlines = np.zeros(num_resamples)
    for stratum in strata:
        headlines += stratum.weight * _replicates(stratum, rng, num_resamples)
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(headlines, [tail, 1 - tail])
    return float(low), float(high)


def difference_interval(
    first: Sequence[Stratum],
    second: Sequence[Stratum],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[float, float]:
    """95% percentile interval of how much higher one headline is, on the same items drawn again.

    Args:
        first: strata of a measurement.
        second: strata of another one of the same items, in the same order.
        seed: the same seed gives the same interval.
        num_resamples: number of bootstrap replicates.

    Raises:
        ValueError: the two are not about the same items.
    """
    sizes = [[(each.name, len(each.rows)) for each in strata] for strata in (first, second)]
    if sizes[0] != sizes[1]:
        raise ValueError("measurements of different items cannot be compared item by item")
    gains = np.zeros(num_resamples)
    for strata, sign in ((first, 1.0), (second, -1.0)):
        rng = np.random.default_rng(seed)  # the same items for both
        for stratum in strata:
            gains += sign * stratum.weight * _replicates(stratum, rng, num_resamples)
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(gains, [tail, 1 - tail])
    return float(low), float(high)


def _replicates(stratum: Stratum, rng: np.random.Generator, num_resamples: int) -> Rows:
    num_rows = len(stratum.rows)
    block = max(1, BLOCK_ROWS // num_rows)
    parts = []
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        picked = rng.integers(num_rows, size=(size, num_rows))
        parts.append(stratum.statistic(stratum.rows[picked]))
    return np.concatenate(parts)
