"""`synpref train` says what it trained on and how good it is, and refuses in one line."""

import json

import pytest
from typer.testing import CliRunner

from synpref_dagster.cli.app import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in an empty folder with a file of pairs; gives exit code and lines."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"prompt": f"question {n}", "chosen": "many words " * (n % 3 + 2), "rejected": "few"}
        for n in range(20)
    ]
    rows += [{"prompt": "q", "chosen": "same", "rejected": "same"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()

    return invoke


def test_what_was_trained_is_said_and_can_be_scored_with(run):
    arguments = ("train", "pairs.jsonl", "-o", "m", "--backend", "linear", "--held-out", "0.2")
    code, lines, _ = run(*arguments)
    assert code == 0
    assert lines[:2] == ["21 rows read: 20 pairs", "quarantined: 1 identical_responses"]
    assert lines[2].split()[1:3] == ["pairs,", lines[2].split()[2]]
    assert lines[3].startswith("accuracy 1.000 [")
    assert lines[3].endswith(" held out")
    assert lines[-2].endswith("model in m")
    assert lines[-1] == "quarantined rows in m.quarantine.jsonl"
    again = run(*arguments)[1]
    assert again[-2] == "was there already; model in m"
    assert run("score", "m", "pairs.jsonl", "-o", "r.jsonl")[1][2].endswith("100.0% of 20 pairs")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone.jsonl", "-o", "m", "--backend", "linear"), "no file at 'gone.jsonl'"),
        (("pairs.jsonl", "-o", "m"), "starts from a backbone"),
        (("pairs.jsonl", "-o", "m", "--backbone", "no/where"), "no/where"),
        (("pairs.jsonl", "-o", "pairs.jsonl", "--backend", "linear"), "which would be lost"),
        (("pairs.jsonl", "-o", "m", "--backend", "linear", "--set", "a"), "write NAME=VALUE"),
        (("pairs.jsonl", "-o", "m", "--backend", "linear", "--column", "x"), "write KNOWN=YOURS"),
    ],
)
def test_refusals_are_one_line(run, monkeypatch, arguments, words):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, lines, told = run("train", *arguments)
    assert (code, lines, len(told)) == (2, [], 1)
    assert words in told[0]
