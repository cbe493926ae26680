"""`synpref judge` says who said what and what it cost, and refuses in one line."""

import json

import fake_judge_server as fake
import pytest
from typer.testing import CliRunner

from synpref_dagster.cli.app import app

TABLE = """[judges]
kind = "endpoints"
num_samples = 2
{cap}
[[judges.endpoints]]
name = "one"
model = "m"
base_url = "{url}"
usd_per_million_input = 100.0
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in an empty folder with a file of pairs; gives exit code and lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    rows = [{"prompt": f"q {n}", "chosen": "yes", "rejected": "no"} for n in range(3)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "odd.toml").write_text("[judges]\ncolour = 1\n")

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()

    return invoke


def prefers_yes(body):
    text = body["messages"][1]["content"]
    return fake.verdict(
        "candidate_1" if text.index("\nyes\n") < text.index("\nno\n") else "candidate_2"
    )


def test_agreement_and_cost_are_said_and_the_second_run_pays_nothing(run, tmp_path):
    with fake.serve(prefers_yes) as server:
        (tmp_path / "j.toml").write_text(TABLE.format(url=server.url, cap="max_usd = 5"))
        code, lines, _ = run("judge", "pairs.jsonl", "-o", "a.jsonl", "--settings", "j.toml")
        again = run("judge", "pairs.jsonl", "-o", "b.jsonl", "--settings", "j.toml")[1]
    assert (code, lines[0]) == (0, "3 rows read: 3 pairs")
    [panel] = [line for line in lines if line.split()[:1] == ["panel"]]
    assert panel.startswith("panel  agrees 1.000 [.438 1.000], decided 1.000, abstains .000, same")
    assert lines[-3:] == [
        "6 replies: 0 were kept, $0.0600 paid for others",
        "account tool: $0.0600 of $5.00 spent",
        "labels in a.jsonl",
    ]
    assert again[-3:-1] == [
        "6 replies: 6 were kept, $0.0000 paid for others",
        "account tool: $0.0600 of $5.00 spent",
    ]


def test_money_that_does_not_reach_is_said_in_a_line(run, tmp_path):
    (tmp_path / "j.toml").write_text(
        TABLE.format(url="http://127.0.0.1:9/v1", cap="max_usd = 0.001")
    )
    code, lines, told = run("judge", "pairs.jsonl", "-o", "a.jsonl", "--settings", "j.toml")
    assert (code, lines, len(told)) == (2, [], 1)
    assert "$0.00" in told[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone.jsonl", "-o", "a.jsonl", "--profile", "smoke"), "gone.jsonl"),
        (("pairs.jsonl", "-o", "a.jsonl"), "name who judges"),
        (("pairs.jsonl", "-o", "a.txt", "--profile", "smoke"), "are written as"),
        (("pairs.jsonl", "-o", "a.jsonl", "--settings", "odd.toml"), "judges.colour"),
        (("pairs.jsonl", "-o", "a.jsonl", "--profile", "smokee"), "smokee"),
        (("pairs.jsonl", "-o", "a.jsonl", "--profile", "smoke"), "learn from gold"),
    ],
)
def test_refusals_are_one_line(run, arguments, words):
    code, lines, told = run("judge", *arguments)
    assert (code, lines, len(told)) == (2, [], 1)
    assert words in told[0]
