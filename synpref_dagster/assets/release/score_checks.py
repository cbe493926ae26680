"""What must hold of every score table before anybody reads a number from it."""

from collections import Counter
from collections.abc import Sequence

import dagster as dg
import numpy as np
import pandas as pd

from synpref_dagster.benchmarks.items import BenchmarkItem
from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.benchmarks.suite import Benchmark
from synpref_dagster.resources.sources import PoolSources

ROUNDING = 1e-9
Suite = Sequence[tuple[Benchmark, list[BenchmarkItem]]]


def score_check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The checks that `score_checks` answers; counts do not block, for sets get corrected."""
    described = {
        "no_missing_score": "Every candidate has one finite reward, every headline is a number.",
        "rm_bench_averages_agree": "RM-Bench: the mean over domains is the mean over difficulties.",
        "counts_per_set": "Each set has the items of the published one, subset by subset.",
    }
    return [
        dg.AssetCheckSpec(
            name,
            asset=asset,
            blocking=name != "counts_per_set",
            description=text,
        )
        for name, text in described.items()
    ]


def score_checks(
    sources: PoolSources, suite: Suite, scores: pd.DataFrame, results: Sequence[BenchmarkResult]
) -> list[dg.AssetCheckResult]:
    """Results of the three checks for one model size."""
    return [
        _no_missing_score(suite, scores, results),
        _averages_agree(results),
        _counts(sources, suite),
    ]


def _no_missing_score(
    suite: Suite, scores: pd.DataFrame, results: Sequence[BenchmarkResult]
) -> dg.AssetCheckResult:
    expected = sum(len(item.candidates) for _, items in suite for item in items)
    num_bad = int((~np.isfinite(scores["reward"])).sum())
    unread = [each.benchmark for each in results if not np.isfinite(each.headline)]
    return dg.AssetCheckResult(
        check_name="no_missing_score",
        passed=len(scores) == expected and num_bad == 0 and not unread,
        description=f"{len(scores):,} of {expected:,} candidates scored, {num_bad} not finite",
        metadata={"headlines_not_finite": unread},
    )


def _averages_agree(results: Sequence[BenchmarkResult]) -> dg.AssetCheckResult:
    found = [each.scores for each in results if each.benchmark == "rm_bench"]
    gaps = [abs(scores["average"] - scores["difficulty_average"]) for scores in found]
    return dg.AssetCheckResult(
        check_name="rm_bench_averages_agree",
        passed=all(gap < ROUNDING for gap in gaps),
        description=f"they differ by {max(gaps):.1e}" if gaps else "RM-Bench is not in the suite",
    )


def _counts(sources: PoolSources, suite: Suite) -> dg.AssetCheckResult:
    wrong: dict[str, str] = {}
    counted: dict[str, int] = {}
    for benchmark, items in suite:
        counts = Counter(item.group for item in items)
        counted[benchmark.name] = counts.total()
        expected = sources.expected_counts(benchmark) or {}
        wrong |= {
            f"{benchmark.name}/{subset}": f"{counts[subset]} instead of {number}"
            for subset, number in expected.items()
            if counts[subset] != number
        }
    return dg.AssetCheckResult(
        check_name="counts_per_set",
        passed=not wrong,
        description=f"{len(wrong)} subsets have other counts than published",
        metadata={"items": counted, "wrong": wrong},
    )
