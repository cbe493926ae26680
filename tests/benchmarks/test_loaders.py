"""Every benchmark in its exact published layout, with invented content."""

import gzip
import json
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracles import check_counts, score_table

from synpref_dagster.benchmarks import loaders
from synpref_dagster.benchmarks.loaders import find_local, load_items, load_suite, read_rows
from synpref_dagster.benchmarks.suite import BENCHMARK_NAMES, SUITE, benchmark_named, evaluate

REWARD_BENCH = {
    "id": 31,
    "prompt": "Say hello.",
    "chosen": "Hello!",
    "chosen_model": "m1",
    "rejected": "Go away.",
    "rejected_model": "m2",
}
REWARD_BENCH_2 = {"prompt": "2+2?", "total_completions": 4, "models": [], "num_incorrect": 3}
PPE_PREFERENCE = {
    "prompt": "Bonjour",
    "response_1": "one",
    "response_2": "two",
    "model_a": "x",
    "model_b": "y",
    "language": "French",
    "is_code": False,
    "is_refusal": False,
    "hard_prompt": True,
    "easy_prompt": False,
    "if_prompt": False,
    "math_prompt": False,
}
TURNS = [
    {"role": "user", "content": "Hi", "language": "en"},
    {"role": "assistant", "content": "Hello", "language": "en"},
    {"role": "user", "content": "Bye", "language": "en"},
]
PPE_SETS = ("mmlu_pro", "math", "gpqa", "ifeval", "mbpp_plus")
SOURCES = ("mmlu-pro-law", "livebench-reasoning", "livebench-math", "livecodebench")


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_json(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")


def answer(text):
    return {"llm_name": "some-llm", "answer": text}


def rmb_pair(uid):
    row = {"pair_uid": uid, "conversation_input": TURNS, "category_path": "Chat/greeting"}
    return row | {"chosen": answer("See you!"), "reject": answer("No.")}


def rmb_best_of_n(uid):
    row = {"bon_uid": uid, "conversation_input": TURNS, "category_path": "Chat/greeting"}
    return row | {"bon_best": answer("Farewell!"), "loser_list": [answer("a"), answer("b")]}


def ppe_correctness_row(number):
    row = {"question_id": number, "model_name": "llm", "prompt": f"Q{number}", "category": "c"}
    row |= {f"response_{i}": "right" if i % 2 else "no" for i in range(1, 33)}
    scores = [bool(i % 2) for i in range(1, 33)]
    return row | {"scores": scores, "sampled_conflict_pairs": [[0, 1], [3, 2]]}


@pytest.fixture
def folder(tmp_path):
    """A benchmarks folder as it lies on disk, every subset once."""
    subsets = benchmark_named("reward_bench").subsets
    write_lines(tmp_path / "reward_bench.jsonl", [REWARD_BENCH | {"subset": s} for s in subsets])
    rows = [
        REWARD_BENCH_2
        | {
            "id": str(n),
            "subset": s,
            "chosen": ["four"],
            "rejected": ["1", "3", "5"],
            "num_correct": 1,
        }
        for n, s in enumerate(("Factuality", "Precise IF", "Math", "Safety", "Focus"))
    ]
    ties = REWARD_BENCH_2 | {"subset": "Ties", "rejected": ["no"]}
    rows.append(ties | {"id": "ref:0", "chosen": ["red, say"], "num_correct": 1})
    rows.append(ties | {"id": "tied:0", "chosen": ["red", "tan"], "num_correct": 2})
    write_lines(tmp_path / "reward_bench_2.jsonl", rows)
    winners = ("model_a", "model_b", "tie (bothbad)")
    rows = [PPE_PREFERENCE | {"question_id": f"q{n}", "winner": w} for n, w in enumerate(winners)]
    write_lines(tmp_path / "ppe_preference.jsonl", rows)
    for name in PPE_SETS:
        write_lines(tmp_path / "ppe_correctness" / f"{name}.jsonl", [ppe_correctness_row(7)])
    rmb = tmp_path / "rmb" / "RMB_dataset"
    for goal in ("Helpfulness/Chat/greeting.json", "Harmlessness/S1.json"):
        write_json(rmb / "Pairwise_set" / goal, [rmb_pair(f"{goal} 1"), rmb_pair(f"{goal} 2")])
        write_json(rmb / "BoN_set" / goal, [rmb_best_of_n(f"{goal} 1")])
    styles = {"chosen": ["aaa", "aaaa", "aaaaa"], "rejected": ["b", "bb", "bbb"], "error": "x"}
    domains = benchmark_named("rm_bench").subsets
    rows = [{"id": 8, "prompt": "P", "domain": d, "subset": "alpacaeval"} | styles for d in domains]
    write_json(tmp_path / "rm_bench.json", rows)
    rows = [
        {
            "pair_id": f"p{n}",
            "original_id": n,
            "source": source,
            "question": "Q",
            "response_model": "llm",
            "response_A": "short",
            "response_B": "longer still",
            "label": "B>A",
        }
        for n, source in enumerate(SOURCES)
    ]
    write_lines(tmp_path / "judgebench_gpt.jsonl", rows)
    return tmp_path


def test_the_whole_suite_loads_and_evaluates(folder):
    suite = load_suite(folder)
    assert tuple(suite) == BENCHMARK_NAMES
    for benchmark in SUITE:
        items = suite[benchmark.name]
        table = score_table(items, lambda _, responses: np.array([len(r) for r in responses]))
        result = evaluate(benchmark, items, table, num_resamples=10)
        assert result.num_items == len(items)
        assert benchmark.headline in result.scores


def test_every_subset_has_its_items(folder):
    judge = benchmark_named("judge_bench")
    items = load_items(judge, folder / "judgebench_gpt.jsonl")
    check_counts(judge, items, expected=dict.fromkeys(judge.subsets, 1))


def test_published_counts_sum_to_the_published_total():
    for benchmark in SUITE:
        if set(benchmark.expected_counts) == set(benchmark.subsets):
            assert sum(benchmark.expected_counts.values()) == benchmark.expected_total


def test_reward_bench_ids_carry_their_subset(folder):
    items = load_items(benchmark_named("reward_bench"), folder / "reward_bench.jsonl")
    assert items[0].item_id == "alpacaeval-easy/31"
    assert items[0].candidates == ("Hello!", "Go away.")
    assert len({item.item_id for item in items}) == 23


def test_ties_rows_know_their_kind_and_number(folder):
    items = load_items(benchmark_named("reward_bench_2"), folder / "reward_bench_2.jsonl")
    tied = items[-1]
    assert tied.meta == {"kind": "tied", "prompt_number": "0"}
    assert tied.labels == (1, 1, 0)
    assert items[0].candidates[0] == "four"


def test_the_winner_comes_first_and_a_tie_has_none(folder):
    items = load_items(benchmark_named("ppe_preference"), folder / "ppe_preference.jsonl")
    assert [item.candidates[0] for item in items] == ["one", "two", "one"]
    assert [item.labels for item in items] == [(1, 0), (1, 0), (1, 1)]
    assert items[0].meta["hard_prompt"] is True


def test_conflict_pairs_count_from_zero_and_sets_come_from_the_path(folder):
    items = load_items(benchmark_named("ppe_correctness"), folder / "ppe_correctness")
    assert [item.group for item in items] == sorted(PPE_SETS)
    item = items[0]
    assert item.meta["conflict_pairs"] == ((0, 1), (3, 2))
    assert item.candidates[0] == "right"
    assert item.num_correct == 16


def test_hub_folder_names_are_recognised_as_ppe_sets(folder, tmp_path):
    path = tmp_path / "PPE-MBPP-Plus-Best-of-K" / "data" / "train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([ppe_correctness_row(1)]), path)
    items = load_items(benchmark_named("ppe_correctness"), path.parents[1])
    assert items[0].group == "mbpp_plus"


def test_rmb_reads_goal_category_and_scenario_from_the_tree(folder):
    items = load_items(benchmark_named("rmb"), folder / "rmb")
    assert sorted({item.group for item in items}) == [
        "harm_bon",
        "harm_pair",
        "help_bon",
        "help_pair",
    ]
    chat = next(item for item in items if item.group == "help_bon")
    assert chat.meta == {"category": "Chat", "scenario": "greeting"}
    assert chat.candidates == ("Farewell!", "a", "b")
    assert [turn["role"] for turn in chat.conversation] == ["user", "assistant", "user"]
    harm = next(item for item in items if item.group == "harm_pair")
    assert harm.meta == {"category": "S1", "scenario": "S1"}
    assert harm.candidates == ("See you!", "No.")
    single = folder / "rmb/RMB_dataset/BoN_set/Harmlessness/S1.json"
    assert load_items(benchmark_named("rmb"), single)[0].group == "harm_bon"


def test_judge_bench_puts_the_right_response_first(folder):
    items = load_items(benchmark_named("judge_bench"), folder / "judgebench_gpt.jsonl")
    assert items[0].candidates == ("longer still", "short")
    assert [item.group for item in items] == ["knowledge", "reasoning", "math", "coding"]


def test_all_file_formats_hold_the_same_rows(tmp_path):
    rows = [REWARD_BENCH | {"subset": "donotanswer", "id": n} for n in range(3)]
    write_lines(tmp_path / "a.jsonl", rows)
    write_json(tmp_path / "a.json", rows)
    with gzip.open(tmp_path / "a.json.gz", "wt") as handle:
        json.dump(rows, handle)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for suffix in loaders.SUFFIXES:
        assert [dict(raw.values) for raw in read_rows(tmp_path / f"a{suffix}")] == rows


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, name, encoding):
    rows = [REWARD_BENCH | {"chosen": "caf\u00e9 \u2028 one line"}, REWARD_BENCH]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = json.dumps(rows, ensure_ascii=False, indent=1) if name == "a.json" else lines
    (tmp_path / name).write_text(text, encoding=encoding, newline="")
    assert [dict(raw.values) for raw in read_rows(tmp_path / name)] == rows


def test_a_repeated_id_gets_a_number(tmp_path):
    row = REWARD_BENCH | {"subset": "donotanswer"}
    write_lines(tmp_path / "a.jsonl", [row, row])
    items = load_items(benchmark_named("reward_bench"), tmp_path / "a.jsonl")
    assert [item.item_id for item in items] == ["donotanswer/31", "donotanswer/31#2"]


BROKEN = [
    ("reward_bench", {"id": 1, "prompt": "p"}, "row 0: has no key 'subset'"),
    ("reward_bench", REWARD_BENCH | {"subset": "s", "chosen": None}, "'chosen' is NoneType"),
    (
        "reward_bench_2",
        {"id": "1", "prompt": "p", "subset": "Math", "chosen": ["a"], "rejected": ["b"]}
        | {"num_correct": 2},
        "num_correct is 2 for 1 chosen",
    ),
    (
        "reward_bench_2",
        {"id": "x", "prompt": "p", "subset": "Ties", "chosen": ["a"], "rejected": ["b"]}
        | {"num_correct": 1},
        "neither 'ref:<n>' nor 'tied:<n>'",
    ),
    ("ppe_correctness", {"prompt": "p"}, "no part of the path names a PPE set"),
    ("rmb", rmb_pair("1"), "path must contain Pairwise_set"),
    ("rm_bench", {"id": 1, "prompt": "p", "chosen": ["a"], "rejected": ["b"]}, "needs 3 chosen"),
    (
        "rm_bench",
        {"id": 1, "prompt": "p", "chosen": ["a"] * 3, "rejected": ["b"] * 3, "domain": "art"},
        "unknown domain 'art'",
    ),
    ("judge_bench", {"source": "trivia", "label": "A>B"}, "unknown source"),
]


@pytest.mark.parametrize(("name", "row", "message"), BROKEN)
def test_a_row_of_another_shape_names_file_row_and_key(name, row, message, tmp_path):
    path = tmp_path / "broken.jsonl"
    write_lines(path, [row])
    with pytest.raises(ValueError, match=message) as caught:
        load_items(benchmark_named(name), path)
    assert "broken.jsonl row 0" in str(caught.value)


def test_unreadable_sources_are_errors(tmp_path, monkeypatch):
    bench = benchmark_named("reward_bench")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        load_items(bench, tmp_path / "absent.jsonl")
    with pytest.raises(ValueError, match="no rows"):
        load_items(bench, tmp_path)
    (tmp_path / "a.jsonl").write_text("{not json}")
    with pytest.raises(ValueError, match=r"a\.jsonl is not JSON"):
        load_items(bench, tmp_path / "a.jsonl")
    (tmp_path / "b.csv").write_text("id\n")
    with pytest.raises(ValueError, match="none of the suffixes"):
        load_items(bench, tmp_path / "b.csv")
    write_json(tmp_path / "c.json", [[1]])
    with pytest.raises(ValueError, match="row 0 is list"):
        load_items(bench, tmp_path / "c.json")
    monkeypatch.setattr(loaders, "MAX_FILE_BYTES", 3)
    with pytest.raises(ValueError, match="more than 3 bytes"):
        load_items(bench, tmp_path / "c.json")
    with pytest.raises(ValueError, match=r"none of .*'RMB_dataset'"):
        find_local(benchmark_named("rmb"), tmp_path)
    with pytest.raises(ValueError, match="not on the hub"):
        load_items(benchmark_named("rmb"))


def test_hub_datasets_are_read_at_their_pinned_revision(monkeypatch):
    calls = []

    def load_dataset(hub_id, *, split, revision):
        calls.append((hub_id, split, revision))
        return [ppe_correctness_row(1)]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    items = load_items(benchmark_named("ppe_correctness"))
    assert [item.group for item in items] == list(PPE_SETS)
    assert calls[0] == (
        "lmarena-ai/PPE-MMLU-Pro-Best-of-K",
        "train",
        "d3a309b95d5a3a34efdd2b01a9e3ee10565bf0c7",
    )
    load_items(benchmark_named("ppe_correctness"), revision="main")
    assert calls[-1][2] == "main"
