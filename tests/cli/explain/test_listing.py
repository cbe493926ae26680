"""`synpref pairs` lists what the decisions of a campaign hold, and nothing else."""

import json

import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli
from synpref_dagster.cli.explain.listing import ROW_SCHEMA, Query, _foremost, _within

DECIDED = "consistency_filtered_subset"
ALL = ("--limit", "100000")


@pytest.fixture
def printed(finished_campaign, monkeypatch):
    """Runs `synpref pairs ...` on the finished campaign; gives exit code and output."""
    monkeypatch.setenv("SYNPREF_STORE", str(finished_campaign.base / "store"))
    monkeypatch.setattr(cli, "console", Console(width=100, no_color=True))

    def run(*arguments):
        result = CliRunner().invoke(cli.app, ["pairs", *arguments, "--profile", "smoke"])
        return result.exit_code, result.output

    return run


@pytest.fixture
def listed(printed):
    def run(*arguments):
        code, output = printed(*arguments, "--json")
        assert code == 0, output
        return [json.loads(line) for line in output.splitlines()]

    return run


@pytest.fixture
def decisions(finished_campaign):
    """Every decided pair with the category that somebody gave it."""
    subset = finished_campaign.ref(DECIDED)
    frames = [finished_campaign.frame(side) for side in (subset.kept, subset.dropped)]
    attributes = finished_campaign.frame(finished_campaign.ref("attribute_labels"))
    known = attributes[["pair_id", "task_category"]]
    return pd.concat(frames).merge(known, on="pair_id", how="left")


def ids(rows):
    return [row["pair_id"] for row in rows]


def hexadecimal(frame):
    return {pair_id.hex() for pair_id in frame["pair_id"]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--decision", "flipped"], "decision == 'flipped'"),
        (["--decision", "kept", "--source", "crowd"], "decision == 'kept' and source == 'crowd'"),
        (["--reason", "split_evidence"], "reason == 'split_evidence'"),
        (["--category", "math", "--category", "editing"], "task_category in ['math', 'editing']"),
        (["--category", "unknown"], "task_category.isna()"),
        (["--min-margin", "1.5"], "best_margin >= 1.5"),
        (["--min-margin", "-0.5", "--max-margin", "0.5"], "-0.5 <= best_margin <= 0.5"),
        ([], "decision == decision"),
    ],
)
def test_a_filter_lists_every_pair_that_fits_once(listed, decisions, asked, expected):
    wanted = decisions.query(expected, engine="python")
    assert len(wanted), "the smoke campaign has no such pair"
    found = ids(listed(*asked, *ALL))
    assert len(found) == len(wanted)
    assert set(found) == hexadecimal(wanted)


@pytest.mark.parametrize(("sort", "column"), [("margin", "best_margin"), ("gold_margin",) * 2])
@pytest.mark.parametrize("way", ["ascending", "descending"])
def test_the_first_in_order_are_listed_in_order(listed, decisions, sort, column, way):
    descending = ["--descending"] if way == "descending" else []
    found = listed("--decision", "discarded", "--sort", sort, *descending, "--limit", "7")
    margins = decisions.query("decision == 'discarded'")[column]
    expected = sorted(margins, reverse=way == "descending")[:7]
    assert [row[column] for row in found] == pytest.approx(expected)


def test_a_listed_pair_has_its_texts_and_what_everybody_said(listed, finished_campaign, decisions):
    gold = finished_campaign.frame(finished_campaign.ref("gold").kept)
    said = dict(zip(map(bytes.hex, gold["content_id"]), gold["label"], strict=True))
    of_gold = {row["pair_id"].hex() for _, row in gold.iterrows()}
    texts = {
        pair.pair_id.hex(): pair
        for pair in finished_campaign.campaign.pairs(finished_campaign.ref("raw_pool").kept)
    }
    rows = listed(*ALL)
    judged = dict(zip(map(bytes.hex, decisions["pair_id"]), decisions["judge_label"], strict=True))
    for row in rows:
        assert row["chosen"] == texts[row["pair_id"]].chosen
        assert row["judge_label"] == judged[row["pair_id"]]
        label = said.get(row["content_id"])
        expected = None if label is None else label * (1 if row["pair_id"] in of_gold else -1)
        assert row["human_label"] == expected
    by_people = {row["human_label"] for row in rows if row["reason"].startswith("human_")}
    assert by_people == {1, -1}
    assert all(row["human_label"] == -1 for row in rows if row["reason"] == "human_disagrees")


def test_what_cleaning_dropped_is_listed_when_it_is_asked_for(listed, finished_campaign):
    dropped = finished_campaign.frame(finished_campaign.ref("clean_pool").dropped)
    found = listed("--decision", "dropped", *ALL)
    assert sorted(ids(found)) == sorted(pair_id.hex() for pair_id in dropped["pair_id"])
    contaminated = dropped.query("reason == 'contaminated'")
    assert set(ids(listed("--reason", "contaminated", *ALL))) == hexadecimal(contaminated)
    assert all(row["best_margin"] is None for row in found)


def test_a_list_for_people_says_how_many_there_are_and_where_to_go_on(printed, decisions):
    code, output = printed("--decision", "flipped", "--limit", "2")
    assert code == 0
    assert f"2 of {(decisions['decision'] == 'flipped').sum()} pairs" in output
    assert output.count("flipped: people say that the opposite label is right") == 2
    begins = output.split("synpref explain ")[1].split()[0]
    arguments = ["explain", begins, "--profile", "smoke"]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    assert printed("--min-margin", "1e9")[1].strip() == "no pair fits"


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("--decision", "flip", "kept, flipped, discarded, dropped"),
        ("--reason", "flipped", "human_agrees"),
        ("--source", "nowhere", "crowd"),
        ("--category", "maths", "math"),
        ("--sort", "length", "margin, gold_margin"),
    ],
)
def test_a_value_that_nobody_knows_is_refused_with_those_that_there_are(
    printed, option, value, known
):
    code, output = printed(option, value)
    assert code == 2
    assert len(output.strip().splitlines()) == 1
    assert f"{option} '{value}': choose from" in output
    assert known in output


def test_a_campaign_that_has_decided_nothing_is_said_to(printed, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    code, output = printed()
    assert (code, "no pool at" in output) == (2, True)


def test_pairs_without_a_margin_come_last_and_fit_no_bound():
    names = [bytes([number]) * 16 for number in (9, 3, 5, 1, 2)]
    column = {"best_margin": [None, 0.5, -2.0, None, 0.5], "pair_id": names}
    rows = [{name: column[name][row] for name in column} for row in range(5)]
    shard = pa.Table.from_pylist(rows, schema=ROW_SCHEMA)
    [best] = _foremost([shard.slice(0, 2), shard.slice(2)], Query(sort="margin", limit=4))
    assert best["best_margin"].to_pylist() == [-2.0, 0.5, 0.5, None]
    assert [value.bytes[0] for value in best["pair_id"].to_pylist()] == [5, 2, 3, 1]
    fits = _within(shard["best_margin"], Query(max_margin=0.5))
    assert fits.to_pylist() == [False, True, True, False, True]
