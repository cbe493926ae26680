"""`synpref filter` counts decisions by reason and says what gold makes of flips."""

import json

import pytest
from typer.testing import CliRunner

from synpref_dagster.cli.app import app

ROWS = [
    {"best_margin": 1.0, "gold_margin": 2.0, "judge_label": 1},
    {"best_margin": -1.0, "gold_margin": -2.0, "judge_label": -1},
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in a folder with a file of two rows of rewards and one of gold."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "{\n")
    gold = [{**ROWS[1], "human_label": -1}] * 30
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()

    return invoke


def test_without_gold_nothing_is_flipped_and_that_is_said(run):
    code, lines, told = run("filter", "r.jsonl", "-o", "out.jsonl")
    assert (code, told) == (0, [])
    assert lines == [
        "3 rows read: 2 decided",
        "quarantined: 1 not_json",
        "kept: 1 all_agree",
        "discarded: 1 flip_guarded",
        "no gold is given, so that nobody knows how right flips are: none is made",
        "decisions in out.jsonl",
        "quarantined rows in out.quarantine.jsonl",
    ]


def test_gold_of_a_file_opens_the_guard(run, tmp_path):
    code, lines, _ = run("filter", "r.jsonl", "-o", "out.jsonl", "--evidence", "gold.jsonl")
    assert code == 0
    assert "flipped: 1 all_disagree" in lines
    assert "flips are made below p = 0.5: right on gold 1.000 [0.886 1.000], n=30" in lines
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["decision"] for row in rows] == ["kept", "flipped"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone.jsonl", "-o", "o.jsonl"), "no file at 'gone.jsonl'"),
        (("r.jsonl", "-o", "o.jsonl", "--best", "x"), "has no column 'x'"),
        (("r.jsonl", "-o", "o.jsonl", "--recycle", "x"), "choose strict, all, none"),
        (("r.jsonl", "-o", "o.jsonl", "--models", "a", "b"), "a is no folder"),
        (("r.jsonl", "-o", "o.txt"), "decisions are written as"),
    ],
)
def test_refusals_are_one_line(run, arguments, words):
    code, lines, told = run("filter", *arguments)
    assert (code, lines, len(told)) == (2, [], 1)
    assert words in told[0]
