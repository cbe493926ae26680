"""`synpref check` on a terminal: what it says, how it ends, and that it leaves nothing behind."""

import gzip
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli

OWN = """
name = "own"
[pool]
kind = "sources"
custom_benchmarks = {{ mine = "suite.jsonl" }}
[[pool.sources]]
name = "votes"
path = "votes.jsonl"
origin = "human"
[[pool.sources]]
name = "pairs"
path = "pairs.jsonl"
origin = "synthetic"
[seed_set]
num_gold = {num_gold}
num_silver = 10
[iterations]
num_iterations = 1
max_retrieved = 10
num_human = 2
[reward_model]
backend = "linear"
[release]
backend = "stand_in"
"""
ASKED = "Who wrote the long book about the white whale and the captain of that ship in 1851?"


@pytest.fixture
def check(monkeypatch, tmp_path):
    """Runs `synpref check ...` in a folder with a profile and its files; gives code and output."""
    monkeypatch.chdir(tmp_path)
    votes = [
        {
            "prompt": f"Which number is {n}?",
            "response_a": f"it is {n}",
            "response_b": "none",
            "votes": [{"worker": "w1", "value": "a"}],
        }
        for n in range(40)
    ]
    pairs = [
        {"prompt": ASKED, "chosen": "Melville", "rejected": "nobody", "id_of_mine": 7},
        {"prompt": "Same", "chosen": "yes", "rejected": "yes"},
        {"prompt": "Mail?", "chosen": "ann.lee@posteo.de", "rejected": "no"},
    ]
    suite = [{"id": "1", "prompt": ASKED, "chosen": "Melville", "rejected": "Poe"}]
    for name, rows in (("votes", votes), ("pairs", pairs), ("suite", suite)):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    console = Console(width=100, no_color=True)
    monkeypatch.setattr(cli, "console", console)

    def run(*arguments, num_gold=20):
        Path("own.toml").write_text(OWN.format(num_gold=num_gold))
        result = CliRunner().invoke(cli.app, ["check", *arguments])
        return result.exit_code, result.output

    return run


def test_a_profile_that_fits_is_said_to_and_ends_with_0(check):
    code, output = check("own.toml")
    assert code == 0
    assert output.rstrip().endswith("Nothing has to change: synpref run can begin.")
    assert "Columns that nobody reads: pairs.id_of_mine (1 row)." in output
    assert "Benchmarks: 1 different pair shares words with one: mine 1." in output
    assert "Personal data: 1 pair, by patterns: email 1." in output
    assert "identical_responses" in output
    assert "No text leaves this machine while the campaign runs." in output


def test_the_page_of_a_good_profile_fits_two_screens(check):
    _, output = check("own.toml")
    assert len(output.splitlines()) <= 90
    assert max(map(len, output.splitlines())) <= 100


def test_more_gold_than_pairs_ends_with_1_and_says_of_how_many(check):
    code, output = check("--profile", "own.toml", num_gold=12_000)
    assert code == 1
    assert "num_gold is 12,000 of 40 pairs with a recorded vote" in " ".join(output.split())
    assert "Nothing has to change" not in output


def test_a_machine_gets_one_object_with_the_same_figures(check):
    code, output = check("own.toml", "--json")
    told = json.loads(output)
    assert code == 0
    assert told["must_change"] == []
    assert (told["num_pairs"], told["num_clean"], told["num_voted"]) == (42, 41, 40)
    rows = {row["source"]: row for row in told["sources"]}
    assert set(rows) == {"pairs", "votes"}
    assert sum(row["num_clean"] for row in rows.values()) == 41
    assert rows["pairs"]["quarantined_as"]["identical_responses"] == 1
    assert check("own.toml", "--json", num_gold=41)[0] == 1


def test_everything_on_the_page_is_in_the_object_for_machines(check):
    told = json.loads(check("own.toml", "--json")[1])
    assert told["languages"]["English"] > 0.9
    assert told["leaves_this_machine"] == told["endpoints"] == []
    assert (told["human_hours"], told["num_answers_of_people"]) == (0.0, 0)
    assert told["unverified_sources"] == ["pairs"]
    assert [each["backend"] for each in told["small_models"]] == ["linear", "stand_in"]
    assert [part["title"] for part in told["sections"]] == [
        *("Sources", "Cleaning", "Quarantine", "Texts", "Sizes and people", "Judges", "Machines"),
        "What leaves this machine",
    ]
    shown = " ".join(check("own.toml")[1].split())
    for part in told["sections"]:
        for line in part["lines"]:
            if "of one CPU." not in line:  # how long this took is never said twice alike
                assert " ".join(line.split()) in shown


def test_numbers_are_followed_by_one_thing_or_several(check):
    shown = " ".join(check("own.toml")[1].split())
    assert (
        re.findall(r"\b1 (?:pairs|rows|prompts|files|people|models|answers|iterations)\b", shown)
        == []
    )
    assert "0.0 " not in shown
    assert "by 1 person on 40 pairs" in shown


def test_held_out_debates_are_said_where_they_make_the_counts_differ(check, tmp_path):
    rows = [json.loads(line) for line in (tmp_path / "votes.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row |= {"debate": "late" if number < 5 else "early", "gold": "a"}
    with gzip.open("voted.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    own = OWN.format(num_gold=20).replace(
        '"votes.jsonl"', '"voted.jsonl.gz"\nformat = "crowd_votes"'
    )
    held = own.replace('kind = "sources"', 'kind = "sources"\ntest_debates = ["late"]')
    for text, says in ((own, False), (held, True)):
        Path("other.toml").write_text(text)
        code, output = check("other.toml")
        shown = " ".join(output.split())
        assert code == 0
        assert ("5 rows of votes lie outside the pool, in the test set (late)" in shown) == says
        # The truth of held-out debates reads the majority; without such debates nobody does.
        assert ("votes.gold (40 rows)" in shown) != says


def test_nothing_is_written_anywhere(check, tmp_path):
    check("own.toml")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    check("own.toml", "--json")
    changed = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert {each.name for each in before} == {
        "own.toml",
        "pairs.jsonl",
        "suite.jsonl",
        "votes.jsonl",
    }
    assert {path for path in changed if changed[path] != before.get(path)} == {
        tmp_path / "own.toml"
    }


def test_a_source_that_is_not_there_is_a_line_and_the_rest_is_said(check, tmp_path):
    (tmp_path / "pairs.jsonl").unlink()
    code, output = check("own.toml")
    assert code == 1
    said = " ".join(output.split())
    assert "source 'pairs': no file at" in said
    assert "40 pairs" in said


def test_a_bad_profile_is_refused_in_a_line_as_elsewhere(check):
    code, output = check("nowhere.toml")
    assert (code, output) == (2, "profile file 'nowhere.toml' does not exist\n")
    code, output = check("own.toml", "--profile", "smoke")
    assert code == 2
    assert len(output.splitlines()) == 1


def test_a_synthetic_world_is_checked_and_gone_again(check, tmp_path):
    code, output = check("smoke", "--json")
    assert code == 0
    told = json.loads(output)
    assert told["num_voted"] > 700
    assert not (tmp_path / ".synpref").exists()
