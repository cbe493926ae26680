"""Benchmarks are found by the layout of their rows, and no item counts twice."""

import gzip
import json

import pytest

from synpref_dagster.benchmarks.loaders import load_items
from synpref_dagster.benchmarks.suite import benchmark_named
from synpref_dagster.tools.suites import find_suites


def judge_rows(num, *, first=0, **more):
    return [
        {
            "pair_id": f"pair-{n}",
            "source": "livebench-math",
            "question": f"question {n}",
            "response_A": f"right {n}",
            "response_B": f"wrong {n}",
            "label": "A>B" if n % 2 else "B>A",
            **more,
        }
        for n in range(first, first + num)
    ]


def found(**named):
    suites = find_suites(**named)
    return {benchmark.name: items for benchmark, items in suites.found}, suites.notes


def test_a_file_belongs_to_the_benchmark_whose_layout_it_has(write_lines, tmp_path):
    write_lines("data/deep/dataset=x,model=y.jsonl", judge_rows(4))
    write_lines("data/readme.json", [{"about": "nothing"}])
    write_lines("data/.hidden/judge.jsonl", judge_rows(4, first=50))
    packed = tmp_path / "data" / "chat_filtered.json.gz"
    row = {"id": 1, "prompt": "q", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"]}
    packed.write_bytes(gzip.compress(json.dumps([row, {**row, "id": 2}]).encode()))
    items, _ = found(data=tmp_path / "data")
    assert {name: len(each) for name, each in items.items()} == {"rm_bench": 2, "judge_bench": 4}
    assert {item.group for item in items["rm_bench"]} == {"chat"}
    alone = load_items(benchmark_named("judge_bench"), tmp_path / "data" / "deep")
    assert items["judge_bench"] == alone


def test_a_file_that_repeats_the_items_of_others_does_not_count_and_is_said(write_lines, tmp_path):
    write_lines("data/a.jsonl", judge_rows(3))
    write_lines("data/b.jsonl", judge_rows(3, judgments=["A>B"]))
    write_lines("data/c.jsonl", judge_rows(3, first=2))
    items, notes = found(data=tmp_path / "data")
    assert len(items["judge_bench"]) == 6
    assert len({item.item_id for item in items["judge_bench"]}) == 6
    assert [note for note in notes if "b.jsonl" in note] == [
        "judge_bench: b.jsonl repeats items of others and is not counted"
    ]
    assert any("not the published set, 6 of 56 math" in note for note in notes)


def test_llmbar_is_a_suite_by_its_own_layout(tmp_path):
    for name, label in (("Natural", 1), ("Adversarial/GPTOut", 2)):
        folder = tmp_path / "LLMBar" / name
        folder.mkdir(parents=True)
        row = {"input": "q", "output_1": "first", "output_2": "second", "label": label}
        (folder / "dataset.json").write_text(json.dumps([row, {**row, "label": 3}]))
    items, notes = found(data=tmp_path)
    assert {(item.item_id, item.candidates) for item in items["llmbar"]} == {
        ("natural-0", ("first", "second")),
        ("gptout-0", ("second", "first")),
    }
    assert notes == ["llmbar: rows left out, 2 bad_labels"]
    named, _ = found(named={"bar": str(tmp_path / "LLMBar")})
    assert [item.candidates for item in named["bar"]] == [
        item.candidates for item in items["llmbar"]
    ]


def test_a_published_name_with_a_path_is_read_in_its_layout(write_lines, tmp_path):
    file = write_lines("data/a.jsonl", judge_rows(3))
    write_lines("data/b.jsonl", judge_rows(5, first=9))
    items, _ = found(data=tmp_path / "data", named={"judge_bench": str(file)})
    assert len(items["judge_bench"]) == 3


def test_only_what_is_asked_for_is_measured(write_lines, tmp_path):
    write_lines("data/a.jsonl", judge_rows(3))
    mine = write_lines("mine.jsonl", [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"x": 1}])
    named = {"mine": str(mine)}
    items, notes = found(data=tmp_path / "data", named=named, only=["mine"])
    assert list(items) == ["mine"]
    assert notes == ["mine: rows left out, 1 missing_key"]
    with pytest.raises(ValueError, match="rm_bench: not found below"):
        find_suites(data=tmp_path / "data", only=["rm_bench"])


def test_a_file_that_breaks_its_layout_is_refused_by_name_and_row(write_lines, tmp_path):
    write_lines("data/a.jsonl", [*judge_rows(2), {"pair_id": "p"}])
    with pytest.raises(ValueError, match=r"data/a.jsonl row 2: has no key 'source'"):
        find_suites(data=tmp_path / "data")
