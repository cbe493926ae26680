"""`synpref clean` and its like say what became of every row, or refuse in a line."""

import json

import pytest
from typer.testing import CliRunner

from synpref_dagster.cli.app import app

ROWS = [
    {"prompt": "Hi", "chosen": "Hello to you", "rejected": "no"},
    {"prompt": "Hi", "chosen": "Hello to you", "rejected": "no"},
    {"prompt": "Hi", "chosen": "no", "rejected": "Hello to you"},
    {"prompt": "Hi", "chosen": "same", "rejected": "same"},
    {"prompt": "Other", "chosen": "a", "rejected": "b", "score": 3},
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in a folder with a file of five rows and one of texts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "eval.txt").write_text("other\n\n")

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()

    return invoke


def test_clean_says_what_was_kept_dropped_and_marked(run, tmp_path):
    code, lines, told = run("clean", "pairs.jsonl", "-o", "out.jsonl", "--against", "eval.txt")
    assert (code, told) == (0, [])
    assert lines == [
        "5 rows read: 4 pairs",
        "quarantined: 1 identical_responses",
        "dropped: 1 contaminated (eval.txt 1)",
        "dropped: 1 duplicate",
        "kept and marked: 2 contradictory_label",
        "column not read: score, which held something in 1 rows",
        "eval.txt: 1 rows without a text are not looked for",
        "2 pairs kept in out.jsonl",
        "all other rows, with reasons, in out.quarantine.jsonl",
    ]
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == [0, 2]


def test_an_output_is_replaced_with_force_only(run, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine")
    code, _, told = run("dedup", "pairs.jsonl", "-o", "out.jsonl")
    assert (code, told) == (
        2, ["out.jsonl is there already: name another output, or give --force"],
    )  # fmt: skip
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    code, lines, _ = run("dedup", "pairs.jsonl", "-o", "out.jsonl", "--force")
    assert (code, lines[-2]) == (0, "3 pairs kept in out.jsonl")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("clean", "gone.jsonl", "-o", "o.jsonl"), "no file at 'gone.jsonl'"),
        (("clean", "pairs.jsonl", "-o", "o.csv"), "pairs are written as .parquet or .jsonl"),
        (("clean", "pairs.jsonl", "-o", "o.jsonl", "--column", "x"), "write KNOWN=YOURS"),
        (("dedup", "pairs.jsonl", "-o", "o.jsonl", "--workers", "2"), "add --executor processes"),
        (("decontaminate", "pairs.jsonl", "-o", "o.jsonl"), "name at least one benchmark"),
        (("decontaminate", "pairs.jsonl", "-o", "o.jsonl", "--against", "x"), "no such file"),
    ],
)
def test_refusals_are_one_line(run, arguments, words):
    code, lines, told = run(*arguments)
    assert (code, lines, len(told)) == (2, [], 1)
    assert words in told[0]
