"""Two answers and who won: read in words, and in numbers only where it is said what they mean."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec

ROW = {"prompt": "Which?", "response_a": "this", "response_b": "that"}
NUMBERS = {"a": 1, "b": 2, "tie": 0}


def read(path, rows, **options):
    """(chosen texts, reasons) of rows in a file."""
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, [*rows[0]])
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = SourceSpec(name="x", path=str(path), origin="human", licence="", options=options)
    batches = list(read_source(spec, seed=0))
    return (
        [pair.chosen for batch in batches for pair in batch.pairs],
        [row.reason for batch in batches for row in batch.quarantined],
    )


def won(*winners, **more):
    return [{**ROW, "prompt": f"Which {n}?", "winner": w, **more} for n, w in enumerate(winners)]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("first", "second", "tie"),
    [
        ("a", "b", "tie"),
        ("A", "B", "Tie"),
        ("response_a", "response_b", "both bad"),
        ("model_a", "model_b", "tie (bothbad)"),
        ("Response A", "answer-b", "equal"),
        ("left", "right", "neither"),
    ],
)
def test_a_winner_in_words_is_read_in_every_container_and_a_tie_is_no_pair(
    tmp_path, ending, first, second, tie
):
    rows = won(first, second, tie)
    assert read(tmp_path / f"x.{ending}", rows) == (["this", "that"], ["tied"])


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_numbers_are_read_as_the_option_says_and_never_guessed(tmp_path, ending):
    path, rows = tmp_path / f"x.{ending}", won(1, 2, 0)
    assert read(path, rows) == ([], ["ambiguous_label"] * 3)
    assert read(path, rows, codes=NUMBERS) == (["this", "that"], ["tied"])
    assert read(path, rows, codes={"a": 0, "b": 1}) == (["that", "this"], ["malformed_label"])


def test_a_number_in_another_form_is_the_same_code_and_words_stay_words(tmp_path):
    rows = won("1.0", "model_2", "b", "tie", "Claude", None, "3")
    assert read(tmp_path / "x.jsonl", rows, codes=NUMBERS) == (
        ["this", "that", "that"],
        ["tied", *["malformed_label"] * 3],
    )


def test_codes_may_be_any_words_and_truth_values(tmp_path):
    codes = {"a": ["gpt", True], "b": ["claude", False]}
    rows = won("GPT", "claude", True, False)
    assert read(tmp_path / "x.jsonl", rows, codes=codes) == (["this", "that"] * 2, [])


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ("ab", "must be like codes = { a = 1, b = 2, tie = 0 }"),
        ({"a": 1}, "must be like"),
        ({"a": 1, "b": 2, "c": 3}, "must be like"),
        ({"a": 1, "b": 1.0}, "must have a code of its own for each side"),
    ],
)
def test_codes_that_say_nothing_clear_are_refused(tmp_path, codes, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "x.jsonl", won("a"), codes=codes)


def test_an_instruction_with_two_outputs_and_a_preference_is_read_with_its_input(tmp_path):
    rows = [
        {"instruction": "Add", "input": "1 1", "output_1": "2", "output_2": "3", "preference": n}
        for n in (1, 2)
    ]
    codes = {"a": 1, "b": 2}
    assert read(tmp_path / "x.jsonl", rows, codes=codes) == (["2", "3"], [])
    path = str(tmp_path / "x.jsonl")
    spec = SourceSpec(name="x", path=path, origin="human", licence="", options={"codes": codes})
    [batch] = read_source(spec, seed=0)
    assert batch.pairs[0].conversation[0]["content"] == "Add\n\n1 1"


def test_the_prompt_may_have_any_known_name(tmp_path):
    rows = [{"question": "Which?", "response_a": "x", "response_b": "y", "winner": "b"}]
    assert read(tmp_path / "x.jsonl", rows) == (["y"], [])
