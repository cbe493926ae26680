"""The report of a whole campaign says what its tables, its releases and its export hold."""

import json
import re

import pandas as pd
import pytest

SUBSET = "consistency_filtered_subset"


@pytest.fixture
def report(finished_campaign):
    return json.loads((finished_campaign.root / "report.json").read_text())


@pytest.fixture
def page(finished_campaign):
    return (finished_campaign.root / "report.html").read_text()


@pytest.fixture
def decisions(finished_campaign):
    subset = finished_campaign.ref(SUBSET)
    return pd.concat([finished_campaign.frame(side) for side in (subset.kept, subset.dropped)])


def test_the_headline_is_the_row_of_the_released_model(report, page, finished_campaign):
    board = finished_campaign.frame(finished_campaign.ref("leaderboard"))
    best = board.iloc[0]
    released = report["releases"][0]
    assert released["model_size"] == best["model_size"]
    assert released["average"]["value"] == pytest.approx(best["average"])
    assert released["average"]["low"] < released["average"]["value"] < released["average"]["high"]
    scores = finished_campaign.ref(f"benchmark_scores/{best['model_size']}")
    for row in finished_campaign.frame(scores["results"]).to_dict("records"):
        found = released["benchmarks"][row["benchmark"]]
        assert found["value"] == pytest.approx(row["headline"])
        assert (found["low"], found["high"], found["n"]) == (
            pytest.approx(row["low"]), pytest.approx(row["high"]), row["num_items"],
        )  # fmt: skip
    screen = page.split("<details")[0]
    assert f"<b>{best['model_size']}</b>" in screen
    assert f"<b>{100 * best['average']:.1f}</b>" in screen
    variant = report["rm_accuracy"]["filtered_corrected"]["value"]
    assert f"{variant:.1%}" not in screen


def test_curated_pairs_are_counted_in_the_export(report, page, finished_campaign):
    export = finished_campaign.frame(
        finished_campaign.ref("curated_dataset"), ["split", "source", "flipped"]
    )
    counts = export["split"].value_counts()
    assert report["export"]["num_train"] == counts["train"]
    assert report["export"]["num_validation"] == counts["validation"]
    assert report["export"]["num_flipped"] == export["flipped"].sum()
    assert report["export"]["by_source"] == export["source"].value_counts().to_dict()
    assert f"<b>{len(export):,}</b>" in page.split("<details")[0]


def test_decisions_and_margins_are_those_of_the_table(report, decisions):
    by_source = decisions.groupby(["source", "decision"]).size()
    for (source, decision), number in by_source.items():
        assert report["decisions_by_source"][source][decision] == number
    margins = report["margins_by_decision"]
    kept = decisions.query("decision == 'kept'")["best_margin"].dropna()
    place = margins["edges"].index(0.0)
    assert sum(margins["num_pairs"]["kept"]) == len(kept)
    assert sum(margins["num_pairs"]["kept"][place:]) == (kept >= 0).sum()


def test_calibration_counts_the_gold_pairs_of_the_flip_evidence(report, finished_campaign):
    evidence = finished_campaign.frame(finished_campaign.ref("flip_evidence"))
    decided = evidence[(evidence["human_label"] != 0) & evidence["gold_margin"].notna()]
    right = (decided["gold_margin"] * decided["human_label"] > 0).sum()
    rows = report["calibration"]["gold"]
    assert sum(row["n"] for row in rows) == len(decided)
    assert round(sum(row["n"] * row["value"] for row in rows)) == right


def test_origin_and_cost_are_said(report, finished_campaign):
    assert report["made"]["version"]
    assert report["fingerprints"]["clean_pool"].startswith(
        finished_campaign.ref("clean_pool").kept.fingerprint
    )
    names = {row["name"] for row in report["sources"]}
    assert names == set(report["asked"]["sources"])
    assert all(row["licence"] and row["fingerprint"] for row in report["sources"])
    cost = report["cost"]
    assert cost["usd"] == 0
    assert cost["num_verdicts"] > 0
    assert cost["human_hours"] is None  # recorded votes were not timed


def test_the_page_is_one_file_that_loads_nothing(page):
    assert not re.search(r"https?://|<script|@import|url\(", page)
    for plot in ("decisions", "iterations", "calibration"):
        inside = page.split(f'<details id="{plot}"')[1].split("</details>")[0]
        assert "data:image/png;base64," in inside
        assert "n = " in inside.split("<figcaption>")[1]


def test_what_leads_in_dagster_is_the_first_screen(finished_campaign):
    [told] = [
        event.step_materialization_data.materialization.metadata
        for result in finished_campaign.results
        for event in result.get_asset_materialization_events()
        if event.asset_key.to_user_string() == "campaign_report"
    ]
    assert next(iter(told)) == "at_a_glance"
    assert "| Curated pairs | **" in told["at_a_glance"].value
