"""`synpref benchmark` prints figures, writes them as JSON and Markdown, and refuses in one line."""

import json

import pytest
from typer.testing import CliRunner

from synpref_dagster.cli.app import app
from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model

ROWS = [
    {"id": n, "prompt": f"q {n}", "chosen": "many words here", "rejected": "few"} for n in range(3)
] + [{"id": 3, "prompt": "q", "chosen": "few", "rejected": "many words here"}, {"id": 4}]


@pytest.fixture(scope="session")
def model(tmp_path_factory, pair_like):
    """A linear model that prefers the longer response."""
    folder = tmp_path_factory.mktemp("models") / "longer"
    config = LinearConfig(num_buckets=0)
    train_linear_reward_model(pair_like(12), [], config=config, output_dir=folder)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in an empty folder with a suite of four items; gives code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["benchmark", *(str(each) for each in arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr.splitlines()

    return invoke


def test_figures_are_printed_and_written(run, model, tmp_path):
    code, output, _ = run(
        model, "--suite", "mine=mine.jsonl", "--json", "b.json", "--markdown", "b.md"
    )
    assert code == 0
    [row] = [line.split() for line in output.splitlines() if line.split()[:1] == ["mine"]][:1]
    # Three of four right: what preferring the longer one gives, for that is what the model does.
    assert (row[1], row[2], row[5]) == ("4", ".750", ".750")
    assert "mine: rows left out, 1 missing_key" in output
    assert "longer: 8 responses scored, 0 were kept" in output
    told = json.loads((tmp_path / "b.json").read_text())
    [result] = told["models"][0]["results"]
    assert (result["headline"], result["longer"], result["num_items"]) == (0.75, 0.75, 4)
    assert told["models"][0]["best_of_k"] is None
    markdown = (tmp_path / "b.md").read_text()
    assert "| mine        | 4       | .750 [" in markdown
    assert "- mine: rows left out, 1 missing_key" in markdown
    _, again, _ = run(model, "--suite", "mine=mine.jsonl")
    assert "longer: 0 responses scored, 8 were kept" in again


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone", "--suite", "mine=mine.jsonl"), "gone is no folder of this machine"),
        (("MODEL", "--suite", "mine"), "write NAME=PATH"),
        (("MODEL", "--suite", "Mine=mine.jsonl"), "custom benchmark 'Mine'"),
        (("MODEL", "--data", "gone"), "gone is no folder"),
        (("MODEL", "--suite", "mine=mine.jsonl", "--json", "no/b.json"), "there is no folder no"),
        (("MODEL", "--suite", "mine=mine.jsonl", "--only", "rmb"), "rmb: not found"),
    ],
)
def test_refusals_are_one_line(run, model, arguments, words):
    code, output, told = run(*(model if each == "MODEL" else each for each in arguments))
    assert (code, output, len(told)) == (2, "", 1)
    assert words in told[0]
