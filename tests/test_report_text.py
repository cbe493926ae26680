"""The report on a terminal says what was not measured, and shows no table of nothing."""

import io

import pytest
from rich.console import Console

from synpref_dagster.report_text import print_report

NONE = {"value": None, "low": None, "high": None, "n": 0}
GOOD = {"value": 0.75, "low": 0.7, "high": 0.8, "n": 40}


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
            {"claim": "unknown", "value": None, "threshold": 0.0, "held": False},
            {"claim": "refuted", "value": -0.1, "threshold": 0.0, "held": False},
            {"claim": "right", "value": 0.1, "threshold": 0.0, "held": True},
        ],
    }


def printed(report):
    console = Console(file=io.StringIO(), width=120)
    print_report(console, report)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_a_claim_without_a_number_was_not_measured(report):
    lines = printed(report)
    assert "unknown - 0.000 not measured" in lines
    assert "refuted -0.100 0.000 did not hold" in lines
    assert "right 0.100 0.000 held" in lines


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
