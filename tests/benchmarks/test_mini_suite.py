"""The embedded default's mini benchmarks are read by the same loaders as the published files."""

import numpy as np
import pytest
from oracles import score_table

from synpref_dagster.benchmarks.loaders import load_suite
from synpref_dagster.benchmarks.suite import SUITE, evaluate
from synpref_dagster.synthetic.miniatures.suite import BenchmarkSizes, write_mini_benchmarks


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    write_mini_benchmarks(folder, sizes=BenchmarkSizes(), seed=0)
    return load_suite(folder)


def test_every_subset_of_every_benchmark_is_there(suite):
    for benchmark in SUITE:
        assert {item.group for item in suite[benchmark.name]} == set(benchmark.subsets)


def test_no_benchmark_is_solved_by_length(suite):
    items = [item for each in suite.values() for item in each]
    table = score_table(items, lambda _, responses: np.array([len(text) for text in responses]))
    for benchmark in SUITE:
        result = evaluate(benchmark, suite[benchmark.name], table, num_resamples=20)
        assert result.headline < 0.7, benchmark.name
