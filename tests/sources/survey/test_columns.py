"""Columns and numbers are taken where they leave no doubt, and refused where they do."""

import json

import pytest

from synpref_dagster.sources.survey.looking import look


@pytest.fixture
def found(tmp_path, monkeypatch):
    """What a look finds: rows under names of files -> (options by place, reasons by place)."""
    monkeypatch.chdir(tmp_path)

    def run(**files):
        for name, rows in files.items():
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / f"{name}.jsonl").write_text(text)
        seen = look(["."])
        return (
            {each.place: dict(each.options) for each in seen.sources},
            {each.place: each.why for each in seen.passed},
        )

    return run


def rows(winners, *, prompt="prompt", sides=("response_a", "response_b"), winner="winner"):
    first, second = sides
    return [
        {prompt: f"Which {n}?", first: "this", second: "that", winner: each}
        for n, each in enumerate(winners)
    ]


@pytest.mark.parametrize(
    ("winners", "codes"),
    [
        ([1, 2, 2], {"a": 1, "b": 2}),
        (["1", "2", "tie"], {"a": 1, "b": 2}),
        ([0, 1], {"a": 0, "b": 1}),
        (["model_1", "model_2"], {"a": 1, "b": 2}),
    ],
)
def test_numbers_of_two_kinds_say_what_they_are(found, winners, codes):
    assert found(x=rows(winners))[0] == {"x.jsonl": {"codes": codes}}


@pytest.mark.parametrize("winners", [[0, 1, 2], [1, 1], [0, 0], [2], [0, 2], [-1, 1], [1, 2, 3]])
def test_numbers_that_may_mean_two_things_are_refused_with_what_to_write(found, winners):
    sources, passed = found(x=rows(winners))
    assert sources == {}
    said = ", ".join(map(str, sorted(set(winners))))
    assert passed["x.jsonl"].startswith(f"its column winner says {said}, and which number means")
    assert "options = { codes = { a = 1, b = 2, tie = 0 } }" in passed["x.jsonl"]


def test_a_preference_of_0_or_1_may_be_yes_or_no(found):
    outputs = {"prompt": "instruction", "sides": ("output_1", "output_2"), "winner": "preference"}
    assert found(x=rows([0, 1], **outputs))[0] == {}
    assert found(x=rows([1, 2], **outputs))[0] == {"x.jsonl": {"codes": {"a": 1, "b": 2}}}


def test_files_of_one_folder_under_different_numbers_are_both_refused(found):
    sources, passed = found(x=rows([0, 1]), y=rows([1, 2]))
    assert sources == {}
    assert passed["x.jsonl"] == passed["y.jsonl"]
    assert passed["x.jsonl"].startswith("its winners stand under other numbers than those of a")


def test_other_names_of_answers_and_winners_are_taken_where_there_is_one_of_each(found):
    named = rows("ab", prompt="question", sides=("Answer 1", "Answer 2"), winner="preferred")
    columns = {"response_a": "Answer 1", "response_b": "Answer 2", "winner": "preferred"}
    assert found(x=named)[0] == {"x.jsonl": {"columns": columns}}
    assert found(x=[{**row, "vote": "a"} for row in named])[0] == {}


def test_numbered_answers_say_what_the_numbers_of_winners_are(found):
    by = {"sides": ("answer_0", "answer_1"), "winner": "label"}
    assert found(x=rows([0, 1], **by))[0]["x.jsonl"]["codes"] == {"a": 0, "b": 1}
    assert found(x=rows([1, 2], **by))[0] == {}
    by = {"sides": ("answer_1", "answer_2"), "winner": "winner"}
    assert found(x=rows([0, 1], **by))[0] == {}


def test_words_need_no_code(found):
    assert found(x=rows(["a", "b", "tie"]))[0] == {"x.jsonl": {}}
