"""`synpref convert` says what it wrote and what the trainer is told, and refuses in one line."""

import json

import pytest
from typer.testing import CliRunner

from synpref_dagster.cli.app import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in an empty folder with a file of two rows; gives exit code and lines."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": "q", "chosen": "yes", "rejected": "no"},
            {"prompt": "q", "chosen": "same", "rejected": "same"}]  # fmt: skip
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()

    return invoke


def test_what_was_written_and_how_it_is_used_is_said(run):
    code, lines, _ = run("convert", "pairs.jsonl", "--to", "nemo_rl", "-o", "out")
    assert (code, lines) == (0, [
        "2 rows read: 1 pairs",
        "quarantined: 1 identical_responses",
        "1 train; pairs in out",
        "  data:",
        "    train:",
        "      dataset_name: PreferenceDataset",
        "      data_path: train.jsonl",
        "quarantined rows in out.quarantine.jsonl",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone.jsonl", "--to", "trl", "-o", "out"), "no file at 'gone.jsonl'"),
        (("pairs.jsonl", "--to", "x", "-o", "out"), "unknown layout 'x'"),
        (("pairs.jsonl", "--to", "trl", "-o", "pairs.jsonl", "--force"), "would be lost"),
        (("pairs.jsonl", "--to", "trl", "-o", "out", "--split", "x"), "split"),
    ],
)
def test_refusals_are_one_line(run, arguments, words):
    code, lines, told = run("convert", *arguments)
    assert (code, lines, len(told)) == (2, [], 1)
    assert words in told[0]
