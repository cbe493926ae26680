"""What must hold for every one of the seven protocols, whatever the model."""

import numpy as np
import pytest

from synpref_dagster.benchmarks.suite import BENCHMARK_NAMES, SUITE, benchmark_named, evaluate

every_benchmark = pytest.mark.parametrize("name", BENCHMARK_NAMES)


def headline(items, table, name):
    return evaluate(benchmark_named(name), items, table, num_resamples=20).headline


@every_benchmark
def test_an_oracle_scores_one(name, toy_items, make_table):
    items = toy_items(name, 3)
    result = evaluate(
        benchmark_named(name), items, make_table(items, [item.labels for item in items])
    )
    # RewardBench 2: equal rewards of the right Ties candidates earn the bonus term as well.
    expected = 1 + 0.01 / 6 if name == "reward_bench_2" else 1.0
    assert result.headline == pytest.approx(expected)
    assert result.tie_rate == 0
    assert result.complete
    assert result.low == pytest.approx(result.headline) == pytest.approx(result.high)


@every_benchmark
def test_constant_rewards_earn_nothing_but_the_shared_credit_of_reward_bench_2(
    name, toy_items, make_table
):
    items = toy_items(name, 2)
    result = evaluate(
        benchmark_named(name), items, make_table(items, [[2.5] * len(i.labels) for i in items])
    )
    expected = (5 * 0.25 + 0.0) / 6 if name == "reward_bench_2" else 0.0
    assert result.headline == pytest.approx(expected)
    assert result.tie_rate == 1.0


@every_benchmark
def test_random_rewards_score_chance(name, toy_items, make_table, rng):
    items = toy_items(name, 9000 // len(benchmark_named(name).subsets))
    table = make_table(items, [rng.normal(size=len(i.labels)) for i in items])
    result = evaluate(benchmark_named(name), items, table, num_resamples=50)
    # RMB: two pairwise parts at 1/2, two best-of-N parts with three losers at 1/4.
    chance = {"rmb": (0.5 + 0.25) / 2}.get(name, 0.5)
    if name == "reward_bench_2":
        chance = (5 * 0.25 + result.scores["Ties"]) / 6
    assert result.headline == pytest.approx(chance, abs=0.02)


@every_benchmark
def test_shifting_and_stretching_rewards_changes_no_headline(name, toy_items, make_table, rng):
    items = toy_items(name, 20)
    rewards = [rng.normal(size=len(i.labels)) for i in items]
    before = headline(items, make_table(items, rewards), name)
    moved = headline(items, make_table(items, [3 * r - 11 for r in rewards]), name)
    assert moved == pytest.approx(before, abs=1e-9)


@every_benchmark
def test_neither_item_order_nor_table_order_matters(name, toy_items, make_table, rng):
    items = toy_items(name, 20)
    table = make_table(items, [rng.integers(0, 4, size=len(i.labels)) for i in items])
    shuffled = table.sample(frac=1, random_state=1)
    reordered = [items[i] for i in rng.permutation(len(items))]
    before = evaluate(benchmark_named(name), items, table, num_resamples=20).scores
    after = evaluate(benchmark_named(name), reordered, shuffled, num_resamples=20).scores
    assert after == pytest.approx(before)


@every_benchmark
def test_the_headline_is_the_weighted_sum_of_its_strata(name, toy_items, rng):
    benchmark, items = benchmark_named(name), toy_items(name, 30)
    rewards = [rng.integers(0, 5, size=len(i.labels)).astype(float) for i in items]
    measurement = benchmark.measure(items, rewards)
    assert measurement.headline == pytest.approx(measurement.scores[benchmark.headline])
    assert sum(stratum.weight for stratum in measurement.strata) == pytest.approx(1)


@every_benchmark
def test_a_missing_subset_is_an_error_unless_the_caller_says_so(name, toy_items, make_table):
    benchmark, items = benchmark_named(name), toy_items(name, 2)
    table = make_table(items, [item.labels for item in items])
    lost = benchmark.subsets[-1]
    rest = [item for item in items if item.group != lost]
    with pytest.raises(ValueError, match=lost):
        evaluate(benchmark, rest, table)
    if len(benchmark.subsets) > 1:
        partial = evaluate(benchmark, rest, table, subsets=benchmark.subsets[:-1])
        assert partial.missing_subsets == (lost,)
        assert not partial.complete


def test_subsets_must_match_the_items(toy_items, make_table):
    benchmark, items = benchmark_named("judge_bench"), toy_items("judge_bench", 2)
    table = make_table(items, [item.labels for item in items])
    with pytest.raises(ValueError, match="not in `subsets=`"):
        evaluate(benchmark, items, table, subsets=["math"])
    with pytest.raises(ValueError, match="has no subset"):
        evaluate(benchmark, items, table, subsets=["math", "poetry"])


def test_the_interval_is_seeded_and_holds_the_headline(toy_items, make_table, rng):
    benchmark, items = benchmark_named("judge_bench"), toy_items("judge_bench", 50)
    table = make_table(items, [rng.normal(size=2) for _ in items])
    one, same = (evaluate(benchmark, items, table, seed=5) for _ in range(2))
    other = evaluate(benchmark, items, table, seed=6)
    assert one == same
    assert (one.low, one.high) != (other.low, other.high)
    assert one.low < one.headline < one.high
    # 200 fair coins: the 95% interval spans about 4 x sqrt(0.25 / 200).
    assert one.high - one.low == pytest.approx(4 * np.sqrt(0.25 / 200), rel=0.2)


def test_truncated_candidates_are_counted(toy_items, make_table):
    items = toy_items("judge_bench", 1)
    table = make_table(items, [(1, 0) for _ in items])
    table.loc[2, "truncated"] = True
    assert evaluate(SUITE[6], items, table, num_resamples=5).num_truncated == 1
