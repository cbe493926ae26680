"""What a benchmark gives for nothing, on items that can be counted."""

import json

import pytest

from synpref_dagster.benchmarks.baselines import chance, longer_is_better
from synpref_dagster.benchmarks.custom import load_custom
from synpref_dagster.benchmarks.items import BenchmarkItem, labels_first
from synpref_dagster.benchmarks.suite import benchmark_named


@pytest.fixture
def own(tmp_path):
    """Makes a suite of one's own from rows."""

    def made(rows):
        file = tmp_path / "mine.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_custom("mine", file)

    return made


def test_the_longer_response_is_right_in_two_of_three_pairs_and_a_draw_is_wrong(own):
    rows = [
        {"prompt": "a", "chosen": "a long answer", "rejected": "short"},
        {"prompt": "b", "chosen": "a long answer", "rejected": "brief"},
        {"prompt": "c", "chosen": "equal", "rejected": "as it"},
    ]
    assert longer_is_better(*own(rows)) == pytest.approx(2 / 3)


def test_chance_is_a_half_of_pairs_and_a_quarter_of_four_candidates(own):
    pairs = [{"prompt": str(n), "chosen": "yes", "rejected": "no"} for n in range(200)]
    assert chance(*own(pairs)) == pytest.approx(0.5, abs=0.03)
    of_four = [
        BenchmarkItem(
            benchmark="reward_bench_2",
            item_id=str(number),
            group="Focus",
            conversation=({"role": "user", "content": str(number)},),
            candidates=("w", "x", "y", "z"),
            labels=labels_first(1, 4),
        )
        for number in range(200)
    ]
    assert chance(benchmark_named("reward_bench_2"), of_four) == pytest.approx(0.25, abs=0.03)


def test_chance_is_the_same_each_time(own):
    pairs = own([{"prompt": str(n), "chosen": "yes", "rejected": "no"} for n in range(20)])
    assert chance(*pairs, seed=3) == chance(*pairs, seed=3)
