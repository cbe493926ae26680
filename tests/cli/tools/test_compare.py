"""`synpref compare` takes profiles, or two models with `--on`, and never guesses which."""

import json

import pytest
from typer.testing import CliRunner

from synpref_dagster.cli.app import app
from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model

ROWS = [
    {"prompt": f"q {n}", "chosen": "many words " * (n + 2), "rejected": "few"} for n in range(4)
]


@pytest.fixture(scope="module")
def models(tmp_path_factory, pair_like):
    """A model that prefers the longer response, and one that prefers the shorter."""
    folder = tmp_path_factory.mktemp("models")
    config = LinearConfig(num_buckets=0)
    flipped = [pair.flipped() for pair in pair_like(12)]
    train_linear_reward_model(pair_like(12), [], config=config, output_dir=folder / "long")
    train_linear_reward_model(flipped, [], config=config, output_dir=folder / "short")
    return folder / "long", folder / "short"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in a folder with a file of four pairs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()

    return invoke


def test_two_models_on_a_file(run, models, tmp_path):
    more = ("--cache", "cache", "--output", "rows.jsonl", "--examples", "1")
    code, lines, _ = run("compare", *models, "--on", "pairs.jsonl", *more)
    assert code == 0
    assert lines[0] == "4 rows read: 4 pairs"
    [whole] = [line.split() for line in lines if line.split()[:1] == ["all"]]
    assert whole == ["all", "4", "1.000", ".000", "+1.000", "[+1.000", "+1.000]", "4", "0"]
    assert "long alone is right: pairs.jsonl row 3" in lines
    assert lines[-2:] == ["long: 8 responses scored", "short: 8 responses scored"]
    told = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["what"] for row in told] == ["slice", "example"]


def test_two_models_on_benchmarks(run, models):
    code, lines, _ = run(
        "compare", *models, "--on", "benchmarks", "--suite", "mine=pairs.jsonl", "--cache", "cache"
    )
    assert code == 0
    assert any(line.split()[:4] == ["mine", "4", "1.000", ".000"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("smoke", "--suite", "a=b"), "add --on FILE or --on benchmarks"),
        (("smoke", "--cache", "c"), "add --on FILE or --on benchmarks"),
        (("one", "--on", "pairs.jsonl"), "--on compares two reward models, and 1 are named"),
        (("a", "b", "c", "--on", "pairs.jsonl"), "and 3 are named"),
        (("a", "b", "--on", "pairs.jsonl", "--seeds", "1"), "--seeds is of profiles"),
        (("a", "b", "--on", "pairs.jsonl"), "a is no folder"),
        (("a", "b", "--on", "benchmarks", "--suite", "x"), "write NAME=PATH"),
    ],
)
def test_refusals_are_one_line(run, arguments, words):
    code, lines, told = run("compare", *arguments)
    assert (code, lines, len(told)) == (2, [], 1)
    assert words in told[0]
