"""The report on a terminal says what was not measured, and shows no table of nothing."""

import io

import pytest
from rich.console import Console

from synpref_dagster.cli.report import print_report, write_page

NONE = {"value": None, "low": None, "high": None, "n": 0}
GOOD = {"value": 0.75, "low": 0.7, "high": 0.8, "n": 40}


def claim(sentence, verdict, value, low, high):
    interval = {"value": value, "low": low, "high": high, "n": 0 if value is None else 40}
    return {"claim": sentence, "verdict": verdict, "threshold": 0.0, **interval}


@pytest.fixture
def report():
    """Of a campaign on data of one's own: no truth, no test set, no benchmark."""
    return {
        "profile": "mine",
        "seed": 0,
        "simulated": [],
        "next_steps": [],
        "pool": {"read": 9, "quarantined_by_reason": {}, "dropped": {}, "clean": 9},
        "decisions": {"kept": 9},
        "decisions_by_reason": {},
        "label_accuracy": dict.fromkeys(("before", "kept", "flipped", "after", "whole_pool"), NONE),
        "filter_precision": {},
        "test_set": "gold validation (no clean test set)",
        "rm_accuracy": {"original": GOOD},
        "rm_accuracy_against_length": {},
        "gold_accuracy_by_iteration": [GOOD, GOOD],
        "test_accuracy_by_iteration": [],
        "judge_agreement": {},
        "judge_agreement_by_objectivity": {"objective": {}, "subjective": {}},
        "leaderboard": [{"model_size": "qwen3-0.6b", "rmb": None, "average": None}],
        "claims": [
            claim("unknown", "not measured", None, None, None),
            claim("refuted", "not held", -0.1, -0.2, -0.05),
            claim("right", "held", 0.1, 0.05, 0.2),
            claim("open", "not decided", 0.1, -0.05, 0.2) | {"threshold": 0.2},
        ],
    }


def printed(report):
    console = Console(file=io.StringIO(), width=120)
    print_report(console, report)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_one_screen_leads(report):
    lines = printed(report)
    blocks = ["What was asked", "What came out", "What to worry about", "What it cost", "Rows"]
    places = [lines.index(block) for block in blocks]
    assert places == sorted(places)
    assert "Claims 1 of 3 measured claims held, 1 not decided, 1 not measured" in lines


def test_the_page_is_drawn_anew_from_the_report_alone(report, tmp_path):
    write_page(report | {"seconds": 1.0}, tmp_path / "again.html")
    page = (tmp_path / "again.html").read_text()
    assert "Campaign report: mine, seed 0" in page
    assert "data:image/png" in page


def test_a_claim_without_a_number_was_not_measured(report):
    lines = printed(report)
    assert "unknown - > 0 0 not measured" in lines


def test_columns_that_nobody_read_stand_among_the_rows(report):
    report["pool"]["unread_columns"] = [{"source": "web", "column": "stance", "num_rows": 1200}]
    assert "not read: web, column stance 1,200" in printed(report)


def test_a_claim_stands_with_its_interval_and_what_that_says(report):
    lines = printed(report)
    assert "refuted -.100 [-.200 -.050] > 0 40 did not hold" in lines
    assert "right .100 [.050 .200] > 0 40 held" in lines
    assert "open .100 [-.050 .200] .200 40 not decided" in lines
    assert [line for line in lines if line.startswith("not decided: n is too small")]


def test_a_long_claim_is_not_cut_off(report):
    words = "an RM trained on kept and flipped pairs beats one on the original labels of the pool"
    report["claims"] = [claim(words, "not held", -0.1, -0.2, -0.05)]
    shown = " ".join(printed(report))
    assert all(word in shown for word in words.split())
    assert "…" not in shown
    assert "n is too small" not in shown


@pytest.mark.parametrize(
    ("scored", "sentence"),
    [(True, "no benchmark was named"), (False, "no release was scored yet")],
)
def test_a_leaderboard_of_nothing_is_a_sentence(report, scored, sentence):
    report["leaderboard"] = report["leaderboard"] if scored else []
    lines = printed(report)
    assert [line for line in lines if sentence in line]
    assert not [line for line in lines if line.startswith("model size")]


def test_without_a_test_set_no_figure_is_of_one(report):
    lines = printed(report)
    assert "Reward models on gold validation (no clean test set)" in lines
    assert "iteration gold validation" in lines
    report["test_accuracy_by_iteration"] = [GOOD, GOOD]
    assert "iteration gold validation clean test" in printed(report)


def test_a_measured_leaderboard_is_a_table_in_points(report):
    report["leaderboard"] = [{"model_size": "qwen3-0.6b", "rmb": 0.5, "average": 0.512}]
    assert "qwen3-0.6b 50.0 51.2" in printed(report)


def test_the_leaderboard_says_on_which_decisions_each_size_was_trained(report):
    row = {"rmb": 0.5, "average": 0.512}
    report["leaderboard"] = [
        {**row, "model_size": "a", "night": "Monday"},
        {**row, "model_size": "b", "night": "Monday"},
    ]
    assert "trained on the decisions of Monday: a, b" in printed(report)
    report["leaderboard"][1]["night"] = "Sunday"
    lines = printed(report)
    assert "trained on the decisions of Monday: a" in lines
    assert "trained on the decisions of Sunday: b" in lines


def test_figures_of_several_nights_are_told_apart(report):
    report["nights"] = {"clean_pool": "Monday", "filter_audit": "Sunday", "gold": "Monday"}
    lines = printed(report)
    assert "figures of Monday: clean_pool, gold" in lines
    assert "figures of Sunday: filter_audit" in lines


def test_warnings_stand_below_the_claims_with_what_to_do(report):
    report["warnings"] = [
        {"code": "a", "sentence": "The gold RM is no better than chance.", "advice": "More gold."}
    ]
    lines = printed(report)
    place = lines.index("The gold RM is no better than chance.")
    assert lines[place - 1 : place + 2] == ["Warnings", lines[place], "More gold."]
    assert place > lines.index("right .100 [.050 .200] > 0 40 held")
    report["warnings"] = []
    assert "Warnings" not in printed(report)
