"""Benchmarks, subsets and names of one's own are refused when they are read."""

import pytest
from pydantic import ValidationError

from synpref_dagster.benchmarks.leaderboard import leaderboard
from synpref_dagster.benchmarks.plugins import PLUGINS
from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.benchmarks.suite import SUITE
from synpref_dagster.cli.refusals import problems
from synpref_dagster.settings.benchmarks import BENCHMARK_SUBSETS, checked_own_benchmark
from synpref_dagster.settings.pool import PoolSettings


def refusal(**pool):
    with pytest.raises(ValidationError) as refused:
        PoolSettings(kind="synthetic_world", **pool)
    [line] = problems(refused.value)
    return line


def test_the_names_are_those_of_the_benchmarks():
    assert {each.name: each.subsets for each in (*SUITE, *PLUGINS)} == dict(BENCHMARK_SUBSETS)


@pytest.mark.parametrize(
    ("subsets", "told"),
    [
        (["chatt"], "names ['chatt']: choose from chat, code, math, "),
        (["chat", "Safety"], "names ['Safety']: choose from chat, "),
        ([], "names none: choose from chat, "),
    ],
)
def test_a_subset_that_a_benchmark_does_not_have_is_refused(subsets, told):
    named = {"benchmarks": {"rm_bench": "x"}, "benchmark_subsets": {"rm_bench": subsets}}
    assert f"benchmark_subsets of rm_bench {told}" in refusal(**named)


def test_a_benchmark_that_nobody_published_belongs_to_ones_own():
    said = refusal(benchmarks={"my_suite": "x"})
    assert "'my_suite', which is none of reward_bench, " in said
    assert "[pool.custom_benchmarks]" in said


MALFORMED = ["My suite", "../x", "a(b)", "ä", "", "1st", "a\n", "a" * 101]
TAKEN = ["rm_bench", "m_reward_bench", "average", "complete", "model_size", "max_tokens"]


@pytest.mark.parametrize("name", [*MALFORMED, *TAKEN, "num_scored", "published_average"])
def test_a_name_of_ones_own_is_no_other_figure_and_can_be_a_metric(name):
    assert f"custom benchmark {name!r}: use" in refusal(custom_benchmarks={name: "x"})


def test_no_column_of_the_leaderboard_can_be_the_name_of_a_suite():
    result = BenchmarkResult(
        benchmark="rm_bench",
        headline=0.5,
        low=0.4,
        high=0.6,
        scores={},
        tie_rate=0.0,
        num_items=1,
        num_truncated=0,
        missing_subsets=(),
    )
    for column in leaderboard({"m": [result]}, complete=False, with_differences=True).columns:
        with pytest.raises(ValueError, match="custom benchmark"):
            checked_own_benchmark(column)
