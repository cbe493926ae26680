"""`synpref score` says what it read and wrote, and refuses in one line."""

import json

import pytest
from typer.testing import CliRunner

from synpref_dagster.cli.app import app
from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model

ROWS = [
    {"prompt": "2+2?", "chosen": "It is 4.", "rejected": "5"},
    {"prompt": "Hi", "chosen": "Hello to you", "rejected": "no"},
    {"prompt": "Hi", "chosen": "same", "rejected": "same"},
]


@pytest.fixture(scope="session")
def model(tmp_path_factory, pair_like):
    """A linear model that prefers the longer response."""
    folder = tmp_path_factory.mktemp("models") / "longer"
    config = LinearConfig(num_buckets=0)
    train_linear_reward_model(pair_like(12), [], config=config, output_dir=folder)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in an empty folder with a file of three rows; gives exit code and lines."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()

    return invoke


def test_what_was_read_and_written_is_said(run, model, tmp_path):
    code, lines, told = run("score", model, "pairs.jsonl", "-o", "out.jsonl")
    assert code == 0
    assert lines == [
        "3 rows read: 2 pairs",
        "quarantined: 1 identical_responses",
        "margin above 0: 100.0% of 2 pairs",
        "4 responses scored; rewards in out.jsonl",
        "quarantined rows in out.quarantine.jsonl",
    ]
    assert told[-1].startswith("4 of 4 responses scored, ")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone", "pairs.jsonl", "-o", "o.jsonl"), "gone is no folder of this machine"),
        (("MODEL", "gone.jsonl", "-o", "o.jsonl"), "no file at 'gone.jsonl'"),
        (("MODEL", "pairs.jsonl", "-o", "o.txt"), "o.txt: rewards are written as"),
        (("MODEL", "pairs.jsonl", "-o", "pairs.jsonl"), "is the input"),
        (("MODEL", "pairs.jsonl", "-o", "o.jsonl", "--format", "x"), "unknown format 'x'"),
        (("MODEL", "pairs.jsonl", "-o", "o.jsonl", "--column", "x"), "write KNOWN=YOURS"),
        (("MODEL", "pairs.jsonl", "-o", "o.jsonl", "--column", "x=y"), "columns names 'x'"),
        (("MODEL", "pairs.jsonl", "-o", "o.jsonl", "--executor", "x"), "choose in_process"),
        (("MODEL", "pairs.jsonl", "-o", "o.jsonl", "--workers", "2"), "add --executor processes"),
        (("MODEL", "pairs.jsonl", "-o", "o.jsonl", "--gpus-per-worker", "1"), "only ray obeys it"),
    ],
)
def test_refusals_are_one_line(run, model, arguments, words):
    code, lines, told = run("score", *(model if each == "MODEL" else each for each in arguments))
    assert (code, lines, len(told)) == (2, [], 1)
    assert words in told[0]
