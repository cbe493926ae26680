import gzip
import json

import numpy as np
import pytest
from oracles import check_counts, score_table

from synpref_dagster.benchmarks.loaders import load_items
from synpref_dagster.benchmarks.pairwise import (
    REWARD_BENCH_ROWS,
    REWARD_BENCH_SECTIONS,
    measure_judge_bench,
    measure_ppe_preference,
    measure_reward_bench,
    measure_rm_bench,
    measure_rmb,
    reward_bench_section_scores,
)
from synpref_dagster.benchmarks.suite import benchmark_named, evaluate


def test_the_subsets_of_reward_bench_sum_to_the_published_rows():
    sizes = {
        section: sum(REWARD_BENCH_ROWS[subset] for subset in subsets)
        for section, subsets in REWARD_BENCH_SECTIONS.items()
    }
    assert sizes == {"chat": 358, "chat_hard": 456, "safety": 740, "reasoning": 1431}
    assert sum(sizes.values()) == 2985


def test_sections_weigh_math_like_all_code_together():
    accuracies = {"math-prm": 1.0} | {
        f"hep-{code}": 0.0 for code in ("cpp", "go", "java", "js", "python", "rust")
    }
    assert reward_bench_section_scores(accuracies)["reasoning"] == pytest.approx(0.5)


def test_reward_bench_weighs_subsets_by_their_published_size(make_item):
    items = [
        make_item("reward_bench", "a", "xstest-should-refuse"),
        make_item("reward_bench", "b", "xstest-should-respond"),
        make_item("reward_bench", "c", "alpacaeval-easy"),
    ]
    scores = measure_reward_bench(items, [np.array(r) for r in ([1, 0], [0, 1], [2, 0])]).scores
    assert scores["safety"] == pytest.approx(154 / 404)
    assert scores["average"] == pytest.approx((154 / 404 + 1) / 2)


def test_ppe_preference_leaves_out_undecided_rows(make_item):
    items = [
        make_item("ppe_preference", "1", "preference", meta={"language": "English"}),
        make_item(
            "ppe_preference", "2", "preference", meta={"language": "Polish", "is_code": True}
        ),
        make_item("ppe_preference", "3", "preference", labels=(1, 1), meta={"language": "Thai"}),
    ]
    scores = measure_ppe_preference(items, [np.array(r) for r in ([2.0, 0], [1, 1], [0, 5])]).scores
    assert scores["accuracy"] == 0.5
    assert scores["language/English"] == 1
    assert scores["language/other"] == scores["is_code"] == 0
    assert scores["num_undecided"] == 1
    assert "math_prompt" not in scores
    assert scores["brier"] == pytest.approx(((1 / (1 + np.exp(2))) ** 2 + 0.25) / 2)


def test_rmb_is_the_mean_of_four_parts_and_the_best_must_beat_every_loser(make_item):
    meta = {"category": "Chat", "scenario": "greeting"}
    shapes = [("help_bon", 3), ("help_bon", 3), ("help_pair", 2), ("harm_bon", 3), ("harm_pair", 2)]
    items = [
        make_item("rmb", str(n), part, labels=(1,) + (0,) * (size - 1), meta=meta)
        for n, (part, size) in enumerate(shapes)
    ]
    rewards = [[3, 2, 1], [2, 2, 1], [1, 0], [0, 1, 2], [1, 0]]
    scores = measure_rmb(items, [np.array(row) for row in rewards]).scores
    assert scores["help_bon"] == 0.5
    assert scores["harm_bon"] == 0
    assert scores["overall"] == (0.5 + 1 + 0 + 1) / 4
    assert scores["bon_pairwise_accuracy"] == 3 / 6
    assert scores["help_bon/greeting"] == 0.5


def test_rm_bench_difficulties_match_the_reference(make_item):
    items = [make_item("rm_bench", str(n), "chat", labels=(1, 1, 1, 0, 0, 0)) for n in range(2)]
    rewards = [np.array([1, 2, 3, 0.5, 2.5, 2.8]), np.array([1, 1, 1, 1, 0, 2.0])]
    scores = measure_rm_bench(items, rewards).scores
    assert scores["hard"] == pytest.approx(1 / 6)
    assert scores["normal"] == pytest.approx(1 / 2)
    assert scores["easy"] == pytest.approx(2 / 3)


def test_rm_bench_pools_safety_by_row_so_that_both_averages_agree(make_item, rng):
    groups = ["chat"] * 3 + ["code"] * 2 + ["math"] + ["safety-refuse"] * 4 + ["safety-response"]
    items = [
        make_item("rm_bench", str(n), group, labels=(1, 1, 1, 0, 0, 0))
        for n, group in enumerate(groups)
    ]
    # Only the four refusals are right: safety is 4/5 by rows, and 1/2 by sub-domains.
    rewards = [
        np.array([1.0, 1, 1, 0, 0, 0]) * (1 if item.group == "safety-refuse" else -1)
        for item in items
    ]
    scores = measure_rm_bench(items, rewards).scores
    assert scores["safety"] == pytest.approx(4 / 5)
    rewards = [rng.normal(size=6) for _ in items]
    scores = measure_rm_bench(items, rewards).scores
    assert scores["average"] == pytest.approx(scores["difficulty_average"])


def test_judge_bench_headline_weighs_categories_equally(make_item):
    groups = ["knowledge"] * 3 + ["math"]
    items = [make_item("judge_bench", str(n), group) for n, group in enumerate(groups)]
    rewards = [np.array(r) for r in ([1, 0], [1, 0], [1, 1], [1, 0])]
    scores = measure_judge_bench(items, rewards).scores
    assert scores["macro"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["micro"] == 3 / 4


@pytest.mark.parametrize(
    ("domain", "expected"),
    [("chat", (2.58, 28.42, 81.14)), ("safety-response", (23.78, 77.71, 98.73))],
)
def test_longer_is_better_on_the_real_rm_bench(domain, expected, real_data):
    benchmark = benchmark_named("rm_bench")
    items = load_items(benchmark, real_data("rm_bench") / f"{domain}_filtered.json.gz")
    check_counts(benchmark, items, expected={domain: benchmark.expected_counts[domain]})
    table = score_table(items, lambda _, responses: np.array([len(text) for text in responses]))
    scores = evaluate(benchmark, items, table, subsets=[domain], num_resamples=20).scores
    found = [100 * scores[name] for name in ("hard", "normal", "easy")]
    assert found == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("judge", "micro", "macro", "categories"),
    [
        ("Skywork_Skywork-Reward-Llama-3.1-8B", 62.29, 62.54, (59.09, 64.29, 76.79, 50.00)),
        ("Ray2333_GRM-Gemma-2B-rewardmodel-ft", 59.43, 58.77, None),
    ],
)
def test_recorded_rewards_reproduce_the_published_judge_bench(
    judge, micro, macro, categories, real_data, make_table
):
    folder = real_data("judgebench")
    stem = "dataset=judgebench,response_model=gpt-4o-2024-05-13"
    items = load_items(benchmark_named("judge_bench"), folder / "data" / f"{stem}.jsonl.gz")
    check_counts(benchmark_named("judge_bench"), items)
    name = f"{stem},judge_name=reward_model,judge_model={judge}.jsonl.gz"
    with gzip.open(folder / "outputs" / name, "rt", encoding="utf-8") as lines:
        recorded = {row["pair_id"]: row for row in map(json.loads, lines)}
    rewards = []
    for item in items:
        scores = recorded[item.item_id]["judgments"][0]["judgment"]["scores"]
        rewards.append(scores if item.meta["label"] == "A>B" else scores[::-1])
    result = evaluate(benchmark_named("judge_bench"), items, make_table(items, rewards))
    assert 100 * result.scores["micro"] == pytest.approx(micro, abs=0.005)
    assert 100 * result.headline == pytest.approx(macro, abs=0.005)
    if categories:
        names = ("knowledge", "reasoning", "math", "coding")
        found = [100 * result.scores[name] for name in names]
        assert found == pytest.approx(categories, abs=0.005)
