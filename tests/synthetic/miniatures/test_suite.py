import json

import numpy as np
import pytest
from oracles import score_table

from synpref_dagster.benchmarks.items import distinct_candidates
from synpref_dagster.benchmarks.loaders import load_suite
from synpref_dagster.benchmarks.suite import SUITE, evaluate
from synpref_dagster.synthetic.miniatures.pairwise import REWARD_BENCH_TASKS
from synpref_dagster.synthetic.miniatures.suite import (
    SMOKE_SIZES,
    BenchmarkSizes,
    write_mini_benchmarks,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks")
    write_mini_benchmarks(path, sizes=BenchmarkSizes(), seed=0)
    return path


@pytest.fixture(scope="module")
def suite(folder):
    return load_suite(folder)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_seven_benchmarks_load_with_every_subset(suite):
    assert list(suite) == [benchmark.name for benchmark in SUITE]
    for benchmark in SUITE:
        assert {item.group for item in suite[benchmark.name]} == set(benchmark.subsets)


def test_the_suite_is_small_enough_for_a_laptop(suite):
    items = [item for found in suite.values() for item in found]
    assert 2_500 <= len(distinct_candidates(items)) <= 4_000


def test_smoke_sizes_still_have_every_subset(tmp_path):
    write_mini_benchmarks(tmp_path, sizes=SMOKE_SIZES, seed=1)
    suite = load_suite(tmp_path)
    for benchmark in SUITE:
        assert {item.group for item in suite[benchmark.name]} == set(benchmark.subsets)


def test_a_scorer_that_knows_the_labels_wins_every_benchmark(suite):
    # People's preferences contradict each other nowhere here, because no prompt is asked twice.
    for benchmark in SUITE:
        items = suite[benchmark.name]
        right = {
            (id_of(item), text): label
            for item in items
            for text, label in zip(item.candidates, item.labels, strict=True)
        }
        table = score_table(
            items,
            lambda conversations, responses, right=right: [
                right[key_of(conversation), response]
                for conversation, response in zip(conversations, responses, strict=True)
            ],
        )
        headline = evaluate(benchmark, items, table).headline
        assert headline >= (0.7 if benchmark.name == "reward_bench_2" else 1.0)


def id_of(item):
    return key_of(item.conversation)


def key_of(conversation):
    return json.dumps(conversation)


def test_prompts_are_asked_once(folder):
    asked = write_mini_benchmarks(folder, sizes=BenchmarkSizes(), seed=0)
    prompts = [item.prompt for item in asked]
    assert len(set(prompts)) == len(prompts)
    assert 0.05 < sum(item.long for item in asked) / len(asked) < 0.16


def test_reward_bench_rows_have_the_published_keys_and_23_subsets(folder):
    rows = rows_of(folder / "reward_bench.jsonl")
    keys = {"id", "prompt", "chosen", "rejected", "chosen_model", "rejected_model", "subset"}
    assert all(set(row) == keys for row in rows)
    assert {row["subset"] for row in rows} == set(REWARD_BENCH_TASKS)
    assert len(REWARD_BENCH_TASKS) == 23


def test_ties_come_as_ref_and_tied_rows_of_the_same_numbers(folder):
    rows = [row for row in rows_of(folder / "reward_bench_2.jsonl") if row["subset"] == "Ties"]
    numbers = {
        kind: {row["id"].split(":")[1] for row in rows if row["id"].startswith(kind)}
        for kind in ("ref", "tied")
    }
    assert numbers["ref"] == numbers["tied"]
    for row in rows:
        assert row["num_correct"] == len(row["chosen"]) == (1 if row["id"][0] == "r" else 4)
        assert row["total_completions"] == len(row["chosen"]) + len(row["rejected"])


def test_other_reward_bench_2_rows_are_best_of_four(folder):
    rows = [row for row in rows_of(folder / "reward_bench_2.jsonl") if row["subset"] != "Ties"]
    assert all(len(row["chosen"]) == 1 and len(set(row["rejected"])) == 3 for row in rows)


def test_conflict_pairs_have_exactly_one_right_response(folder):
    for path in sorted((folder / "ppe_correctness").glob("*.jsonl")):
        for row in rows_of(path):
            assert len(row["scores"]) == 32
            assert all(isinstance(row[f"response_{number}"], str) for number in range(1, 33))
            for first, second in row["sampled_conflict_pairs"]:
                assert row["scores"][first] != row["scores"][second]


def test_ppe_preference_has_ties_and_both_winners(folder):
    winners = {row["winner"] for row in rows_of(folder / "ppe_preference.jsonl")}
    assert winners == {"model_a", "model_b", "tie"}


def test_rmb_is_a_tree_of_49_scenarios_under_two_protocols(folder):
    root = folder / "rmb" / "RMB_dataset"
    for protocol in ("Pairwise_set", "BoN_set"):
        helpful = sorted((root / protocol / "Helpfulness").glob("*/*.json"))
        harmless = sorted((root / protocol / "Harmlessness").glob("*.json"))
        assert (len(helpful), len(harmless)) == (37, 12)
        assert len({path.parent.name for path in helpful}) == 12
    best = json.loads((root / "BoN_set" / "Harmlessness" / "S1.json").read_text())[0]
    assert set(best) == {
        "bon_uid",
        "conversation_input",
        "category_path",
        "bon_best",
        "loser_list",
    }
    pair = json.loads((root / "Pairwise_set" / "Harmlessness" / "S1.json").read_text())[0]
    assert {"pair_uid", "chosen", "reject"} <= set(pair)
    assert set(pair["conversation_input"][0]) == {"role", "content", "language"}


def test_rm_bench_has_three_styles_on_both_sides_that_grow(folder):
    for row in json.loads((folder / "rm_bench.json").read_text()):
        assert len(row["chosen"]) == len(row["rejected"]) == 3
        assert len(row["chosen"][0]) < len(row["chosen"][1])
        assert "\n" not in row["chosen"][1]
        assert "\n" in row["chosen"][2]


def test_judge_bench_has_the_published_sources_and_both_labels(folder):
    rows = rows_of(folder / "judgebench_gpt.jsonl")
    sources = {row["source"] for row in rows}
    assert len([name for name in sources if name.startswith("mmlu-pro-")]) == 14
    assert {"livebench-reasoning", "livebench-math", "livecodebench"} <= sources
    assert {row["label"] for row in rows} == {"A>B", "B>A"}


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="rm_bench_per_domain"):
        BenchmarkSizes(rm_bench_per_domain=0)


def test_every_subset_of_every_benchmark_is_there(suite):
    for benchmark in SUITE:
        assert {item.group for item in suite[benchmark.name]} == set(benchmark.subsets)


def test_no_benchmark_is_solved_by_length(suite):
    items = [item for each in suite.values() for item in each]
    table = score_table(items, lambda _, responses: np.array([len(text) for text in responses]))
    for benchmark in SUITE:
        result = evaluate(benchmark, suite[benchmark.name], table, num_resamples=20)
        assert result.headline < 0.7, benchmark.name
