"""A suite of one's own: JSON lines in, the same tables and intervals out."""

import json

import pytest
from oracles import check_counts

from synpref_dagster.benchmarks.custom import load_custom
from synpref_dagster.benchmarks.suite import evaluate

PAIR = {"prompt": "Name a fruit.", "chosen": "Apple.", "rejected": "Stone."}
CHAT = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Name two primes."},
]
MANY = {
    "id": "primes",
    "subset": "math",
    "prompt": CHAT,
    "candidates": ["4", "2 and 3", "5 and 7"],
    "labels": [0, 1, 1],
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_pairs_and_candidates_become_items_of_the_users_name(tmp_path):
    file = write(tmp_path / "mine.jsonl", PAIR, MANY, PAIR | {"chosen": ["Pear.", "Plum."]})
    benchmark, items = load_custom("my_suite", file)
    assert [item.item_id for item in items] == ["mine.jsonl/0", "primes", "mine.jsonl/2"]
    assert {item.benchmark for item in items} == {"my_suite"}
    assert [item.labels for item in items] == [(1, 0), (0, 1, 1), (1, 1, 0)]
    assert len(items[1].conversation) == 3
    assert benchmark.subsets == ("all", "math")
    check_counts(benchmark, items)


def test_the_best_right_candidate_must_beat_every_wrong_one(tmp_path, make_table):
    benchmark, items = load_custom("my_suite", write(tmp_path / "mine.jsonl", PAIR, MANY, PAIR))
    result = evaluate(benchmark, items, make_table(items, [[1, 0], [3, 1, 4], [2, 2]]))
    assert result.headline == pytest.approx(2 / 3)  # the last is a tie
    assert result.scores["subset/math"] == 1.0
    assert result.scores["subset/all"] == 0.5
    assert result.complete


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "x", "chosen": "y"}, "no key 'rejected'"),
        (PAIR | {"chosen": ""}, "empty response"),
        (MANY | {"labels": [1, 1, 1]}, "must hold 0 and 1"),
        (MANY | {"labels": [1, 0]}, "3 candidates and 2 labels"),
        (PAIR | {"prompt": [{"role": "assistant", "content": "x"}]}, "end with a user turn"),
        (PAIR | {"prompt": [{"role": "user"}]}, "text role and content"),
    ],
)
def test_a_row_that_is_no_comparison_is_named_with_file_and_number(tmp_path, row, problem):
    file = write(tmp_path / "mine.jsonl", PAIR, row)
    with pytest.raises(ValueError, match=rf"mine.jsonl row 1: .*{problem}"):
        load_custom("my_suite", file)


@pytest.mark.parametrize("name", ["rm_bench", "m_reward_bench", "My suite", "../x"])
def test_a_name_that_is_taken_or_no_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="custom benchmark"):
        load_custom(name, write(tmp_path / "mine.jsonl", PAIR))


def test_an_empty_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no rows"):
        load_custom("my_suite", write(tmp_path / "mine.jsonl"))
