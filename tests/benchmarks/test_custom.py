"""A suite of one's own: JSON lines in, the same tables and intervals out."""

import json

import pytest
from oracles import check_counts

from synpref_dagster.benchmarks.custom import left_out, load_custom
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
    ("row", "reason", "detail"),
    [
        ({"prompt": "x", "chosen": "y"}, "missing_key", "no key 'rejected'"),
        ({"prompt": "x", "candidates": ["a", "b"]}, "missing_key", "no key 'labels'"),
        (PAIR | {"chosen": "Stone."}, "identical_responses", ""),
        (PAIR | {"chosen": " Stone.\n"}, "identical_responses", ""),  # templates trim
        (PAIR | {"rejected": ["Rock.", "Apple."]}, "identical_responses", ""),
        (MANY | {"candidates": ["4", "2 and 3", "4"]}, "identical_responses", ""),
        (PAIR | {"chosen": ""}, "empty_response", ""),
        (PAIR | {"chosen": []}, "empty_response", "holds no response"),
        (MANY | {"candidates": ["", "2 and 3", "5"]}, "empty_response", ""),
        (PAIR | {"chosen": None}, "wrong_type", "'chosen' is NoneType"),
        (PAIR | {"chosen": ["Apple.", 3]}, "not_text", ""),
        (MANY | {"labels": [1, 1, 1]}, "bad_labels", "must hold 0 and 1"),
        (MANY | {"labels": ["0", "1", "1"]}, "bad_labels", "must hold 0 and 1"),
        (MANY | {"labels": [1, 0]}, "bad_labels", "3 candidates and 2 labels"),
        (MANY | {"candidates": [], "labels": []}, "bad_labels", "must hold 0 and 1"),
        (
            PAIR | {"prompt": [{"role": "assistant", "content": "x"}]},
            "roles_not_alternating",
            "",
        ),
        (PAIR | {"prompt": [*CHAT, CHAT[1]]}, "conversation_not_ending_with_user", ""),
        (PAIR | {"prompt": [{"role": "human", "content": "x"}]}, "unknown_role", ""),
        (PAIR | {"prompt": [{"role": "user"}]}, "malformed_conversation", "text role and content"),
        (PAIR | {"prompt": []}, "empty_conversation", ""),
        (PAIR | {"prompt": " "}, "empty_turn", ""),
        (PAIR | {"chosen": "lone \ud800 half"}, "not_encodable", ""),
        (PAIR | {"id": "\ud800"}, "not_encodable", ""),
        ({}, "missing_key", "no key 'prompt'"),
    ],
)
def test_a_row_that_is_no_comparison_is_left_out_with_place_and_reason(
    tmp_path, row, reason, detail
):
    benchmark, items = load_custom("my_suite", write(tmp_path / "mine.jsonl", PAIR, row, PAIR))
    assert [item.item_id for item in items] == ["mine.jsonl/0", "mine.jsonl/2"]
    [other] = benchmark.left_out
    assert other.place.endswith("mine.jsonl row 1")
    assert other.reason == reason
    assert detail in other.detail
    assert benchmark.expected_total == 2
    check_counts(benchmark, items)


def test_what_is_left_out_is_counted_by_benchmark_and_reason(tmp_path):
    same = PAIR | {"chosen": "Stone."}
    file = write(tmp_path / "mine.jsonl", PAIR, same, {"prompt": "x"}, same)
    whole = load_custom("whole", write(tmp_path / "whole.jsonl", PAIR))
    assert left_out([whole]) == {}
    found = left_out([load_custom("my_suite", file), whole])["left_out"]
    assert found.keys() == {"my_suite"}
    assert found["my_suite"]["rows_by_reason"] == {"identical_responses": 2, "missing_key": 1}
    assert found["my_suite"]["first"][0] == {
        "place": "/".join(file.parts[-4:]) + " row 1",
        "reason": "identical_responses",
        "detail": "identical responses",
    }


def test_an_id_that_was_there_is_left_out_in_its_file_and_subset_only(tmp_path):
    (folder := tmp_path / "suite").mkdir()
    one, two = PAIR | {"id": 1}, PAIR | {"id": 1, "subset": "math"}
    write(folder / "a.jsonl", one, two, one | {"chosen": "Pear."}, PAIR | {"id": None})
    write(folder / "b.jsonl", one)
    benchmark, items = load_custom("my_suite", folder)
    assert [item.item_id for item in items] == ["1", "1#2", "a.jsonl/3", "1#3"]
    assert [(each.place, each.reason) for each in benchmark.left_out] == [
        ("suite/a.jsonl row 2", "repeated_id")
    ]


def test_where_nothing_is_a_comparison_one_line_says_why(tmp_path):
    file = write(tmp_path / "mine.jsonl", {"prompt": "x"}, PAIR | {"chosen": ""})
    with pytest.raises(
        ValueError, match=r"\(1 empty_response, 1 missing_key\); the first: .*row 0"
    ):
        load_custom("my_suite", file)


@pytest.mark.parametrize("name", ["rm_bench", "m_reward_bench", "My suite", "../x"])
def test_a_name_that_is_taken_or_no_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="custom benchmark"):
        load_custom(name, write(tmp_path / "mine.jsonl", PAIR))


def test_an_empty_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no rows in .* \(it is empty\)"):
        load_custom("my_suite", write(tmp_path / "mine.jsonl"))
