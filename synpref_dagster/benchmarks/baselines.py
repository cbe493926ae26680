"""What a benchmark gives for nothing: to whoever prefers the longer response, and to chance.

Both are measured with the benchmark's own protocol on the same items, so that a headline can be
held against them whatever the protocol counts.
"""

from collections.abc import Sequence

import numpy as np

from synpref_dagster.benchmarks.items import BenchmarkItem, Rewards
from synpref_dagster.benchmarks.suite import Benchmark

NUM_DRAWS = 20
"""Chance is their mean; on 350 pairs its standard error is then .006."""


def longer_is_better(benchmark: Benchmark, items: Sequence[BenchmarkItem]) -> float:
    """The headline of rewards that are numbers of characters, a share in [0, 1]."""
    lengths = [np.array([len(each) for each in item.candidates], dtype=float) for item in items]
    return _headline(benchmark, items, lengths)


def chance(benchmark: Benchmark, items: Sequence[BenchmarkItem], *, seed: int = 0) -> float:
    """The mean headline of `NUM_DRAWS` draws of random rewards, a share in [0, 1]."""
    rng = np.random.default_rng(seed)
    drawn = [
        _headline(benchmark, items, [rng.random(len(item.candidates)) for item in items])
        for _ in range(NUM_DRAWS)
    ]
    return float(np.mean(drawn))


def _headline(
    benchmark: Benchmark, items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]
) -> float:
    return float(benchmark.measure(items, list(rewards)).scores[benchmark.headline])
