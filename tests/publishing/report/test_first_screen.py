"""The first screen tells what came out, and of which model; what nobody measured is a dash."""

from math import nan

import pytest

from synpref_dagster.publishing.report.first_screen import as_markdown, first_screen, worries


def accuracy(value, n=100):
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "n": n}


@pytest.fixture
def report():
    return {
        "profile": "mine",
        "seed": 3,
        "seconds": 75.0,
        "pool": {"read": 1200, "clean": 1000},
        "decisions": {"discarded": 300, "flipped": 100, "kept": 600},
        "label_accuracy": {"before": accuracy(0.7), "after": accuracy(0.9)},
        # A variant that was trained to compare labels is better than what was released.
        "rm_accuracy": {"original": accuracy(0.6), "filtered_corrected": accuracy(0.99)},
        "releases": [
            {"model_size": "big", "average": accuracy(0.71), "benchmarks": {}, "gold": None},
            {
                "model_size": "small",
                "average": accuracy(0.52),
                "benchmarks": {},
                "gold": accuracy(0.61),
            },
        ],
        "export": {"num_train": 640, "num_validation": 45, "num_flipped": 98},
        "asked": {
            "sources": ["a", "b", "c", "d", "e", "f"],
            "people": "recorded",
            "judges": {"kind": "endpoints", "names": ["first", "second"]},
            "num_iterations": 1,
            "reward_model": "linear",
        },
        "made": {"at": "2026-11-30 15:00 UTC", "version": "0.1.0", "commit": "abc"},
        "cost": {
            "cpu_hours": 0.51234,
            "gpu_hours": 0.0,
            "num_steps": 40,
            "num_unmeasured": 2,
            "usd": 1.5,
            "usd_possible": 0.25,
            "human_hours": None,
            "human_cost": None,
            "num_verdicts": 480,
        },
        "claims": [],
    }


def told(report, key):
    [block] = [block for block in first_screen(report) if block.key == key]
    return {fact.name: (fact.value, fact.note) for fact in block.facts}


def test_the_headline_is_about_the_released_model_and_not_about_a_variant(report):
    out = told(report, "out")
    assert out["Released model"] == ("big", "first of 2 by average")
    assert out["… benchmarks"] == ("71.0", "on average, 69.0 to 73.0, n = 100")
    assert "99.0" not in str(out)
    assert "… on gold" not in out
    report["releases"] = report["releases"][1:]
    out = told(report, "out")
    assert out["Released model"] == ("small", "")
    assert out["… on gold"] == ("61.0%", "59.0% to 63.0%, n = 100")


def test_without_a_release_no_other_model_takes_its_place(report):
    report["releases"] = []
    out = told(report, "out")
    assert out["Released model"][0] == "none yet"
    assert not [name for name in out if name.startswith("…")]


def test_curated_pairs_are_those_of_the_export_and_not_of_the_decisions(report):
    assert told(report, "out")["Curated pairs"] == (
        "685",
        "640 train, 45 validate; 98 under the opposite label",
    )
    assert told(report, "out")["Decided"][0] == "600 kept, 100 flipped, 300 discarded"
    del report["export"]
    assert told(report, "out")["Curated pairs"][0] == "–"


@pytest.mark.parametrize(
    ("low", "high", "settled"), [(-0.01, 0.05, False), (0.01, 0.05, True), (-0.05, -0.01, True)]
)
def test_a_gain_whose_interval_holds_zero_is_not_sold_as_a_result(report, low, high, settled):
    gain = {"name": "labels_improve", "claim": "c", "verdict": "held", "value": 0.02}
    report["claims"] = [gain | {"low": low, "high": high, "n": 9, "threshold": 0}]
    value, note = told(report, "out")["Right labels"]
    assert value == "70.0% → 90.0%"
    assert ("this campaign does not settle" in note) != settled


def test_without_a_truth_right_labels_are_estimated_and_called_that(report):
    report["label_accuracy"] = {}
    assert told(report, "out")["Right labels"] == ("–", "no truth is known")
    report["by_source"] = [
        {"source": name, "label_accuracy": {**accuracy(value, n), "by": by, "covers": 1.0}}
        for name, value, n, by in (
            ("hh", 0.55, 1_200, "people"), ("lm", 0.8, 90, "people"),
            ("llm", 0.7, 1_290, "reward model"), ("none", nan, 0, "nobody"),
        )
    ]  # fmt: skip
    assert told(report, "out")["Right labels"] == (
        "55.0% to 80.0% by source",
        "of the sources, estimated from gold: 1,200 pairs of hh, 90 of lm; people were asked about "
        "2 of 4 sources",
    )


def test_right_labels_say_of_which_pairs_the_truth_is_known_and_when_it_checks_nothing(report):
    known = {"crowd": {"num_known": 649, "num_by_people": 605}}
    report["truth"] = {"by_source": known, "votes_play_people": True}
    assert told(report, "out")["Right labels"][1].split("; ")[2:4] == [
        "truth is known of 649 pairs of crowd: the votes that play people are the truth, too: no "
        "independent check (605 pairs they decided)",
        "this campaign does not settle whether they differ",
    ]
    many = {f"s{n}": {"num_known": 100, "num_by_people": 9} for n in range(5)}
    report["truth"] = {"by_source": many, "votes_play_people": False}
    note = told(report, "out")["Right labels"][1]
    assert "truth is known of 500 pairs of 5 sources;" in note


def test_what_was_asked_names_sources_judges_and_version(report):
    asked = told(report, "asked")
    assert asked["Campaign"] == ("mine, seed 3", "2026-11-30 15:00 UTC, version 0.1.0, commit abc")
    assert asked["Data"] == ("1,200 rows", "a, b, c, d, 2 more")
    assert asked["Judges"] == ("LLMs", "first, second")
    assert asked["Reward models"] == ("linear, on words", "1 iteration after the seed")


def test_costs_are_told_and_what_nobody_measured_is_no_zero(report):
    cost = told(report, "cost")
    assert cost["This run"] == ("1 min 15 s", "")
    assert cost["CPU time"] == (
        "30 min 44 s",
        "40 finished steps of all runs; 2 of an earlier version not measured",
    )
    assert cost["Judges"] == ("$1.50", "and up to $0.25 that may have been charged")
    assert cost["Human time"] == ("–", "nobody was timed")
    report["cost"] |= {"human_hours": 1.5, "human_cost": 45.0}
    assert told(report, "cost")["Human time"] == (
        "1 h 30 min",
        "480 verdicts, 45.00 at their rates",
    )


def test_warnings_come_before_claims_and_stand_ins_and_none_is_said_to_be_none(report):
    assert [fact.name for fact in worries(report)] == ["Nothing"]
    report |= {
        "warnings": [{"code": "x", "sentence": "Gold is length.", "advice": "Ask again."}],
        "simulated": ["judges"],
        "claims": [{"claim": "A beats B", "verdict": "not held", "value": 0.0, "threshold": 0.1}],
    }
    found = [(fact.name, fact.value, fact.note) for fact in worries(report)]
    assert found == [
        ("Warning", "Gold is length.", "Ask again."),
        ("Did not hold", "1 of 1", "A beats B"),
        ("Simulated", "1 stand-in", "not the real thing, named below"),
    ]


def test_the_table_for_dagster_has_the_same_lines_and_cells_stay_cells(report):
    report["profile"] = "a|b"
    lines = as_markdown(report).splitlines()
    num_facts = sum(len(block.facts) for block in first_screen(report))
    assert len(lines) == num_facts + len(first_screen(report)) + 1
    assert all(line.count("|") - line.count("\\|") == 4 for line in lines)
    assert (
        "| Curated pairs | **685** | 640 train, 45 validate; 98 under the opposite label |" in lines
    )


def test_an_export_of_an_earlier_night_says_so(report):
    nights = {
        "curated_dataset": "2026-11-29 02:10 UTC",
        "consistency_filtered_subset": "2026-11-30",
    }
    export = {"num_train": 8, "num_validation": 2, "num_flipped": 1}
    [fact] = [
        each
        for block in first_screen({**report, "export": export, "nights": nights})
        for each in block.facts
        if each.name == "Curated pairs"
    ]
    assert fact.value == "10"
    assert fact.note.startswith("exported 2026-11-29 02:10 UTC, not tonight; 8 train")
