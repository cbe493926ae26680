"""The report is plain data: stable keys, numbers that JSON knows, nothing that is not a number."""

import json
from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.curation.evidence.claims import Claim
from synpref_dagster.curation.evidence.report import (
    CampaignFacts,
    accuracies,
    build_report,
    precision_by_rule,
)


def row(value, n=10, **about):
    return {**about, "value": value, "low": value - 0.1, "high": value + 0.1, "n": n}


def accuracy(value, n=10):
    return pytest.approx({"value": value, "low": value - 0.1, "high": value + 0.1, "n": n})


FACTS = CampaignFacts(
    profile="demo",
    seed=0,
    seconds=12.345,
    has_test_set=True,
    pool={"read": np.int64(100), "dropped": {"duplicate": 3}, "clean": 90},
    decisions=pd.DataFrame(
        [
            ("a", "kept", "all_agree", 3),
            ("b", "kept", "all_agree", 2),
            ("a", "kept", "human_agrees", 2),
            ("b", "discarded", "reward_tie", 1),
        ],
        columns=["source", "decision", "reason", "num_pairs"],
    ),
    margins={"edges": [-1.0, 0.0, 1.0], "num_pairs": {"kept": [0, 7], "discarded": [1, 0]}},
    flip_evidence=pd.DataFrame(
        {"human_label": [1, -1], "gold_margin": [2.0, 2.0], "best_margin": [1.0, nan]}
    ).assign(judge_label=0),
    export=pd.DataFrame(
        [
            ("train", "gold", "a", False, 2),
            ("train", "recycled", "a", True, 1),
            ("train", "curated", "b", False, 4),
            ("validation", "gold", "b", True, 3),
        ],
        columns=["split", "tier", "source", "flipped", "num_pairs"],
    ),
    releases=[{"model_size": "qwen3-0.6b", "average": row(0.5), "benchmarks": {}}],
    origin={"made": {"version": "1"}, "fingerprints": {"clean_pool": "f"}},
    cost={"cpu_hours": np.float64(0.5), "human_hours": nan},
    filter_audit=pd.DataFrame(
        [
            row(0.7, 80, measure="label_accuracy", name="before", rule=""),
            row(0.9, 50, measure="label_accuracy", name="after", rule=""),
            row(nan, 0, measure="label_accuracy", name="flipped", rule=""),
            row(0.8, measure="precision", name="kept", rule="gold_rm"),
            row(0.6, measure="precision", name="flipped", rule="gold_rm"),
            row(0.5, measure="precision", name="kept", rule="best_rm"),
        ]
    ),
    iteration_curve=pd.DataFrame(
        [
            row(0.8, iteration=1, set="gold", slice="all"),
            row(0.6, iteration=0, set="gold", slice="all"),
            row(0.1, iteration=0, set="gold", slice="against_length"),
            row(0.5, iteration=0, set="test", slice="all"),
        ]
    ),
    curation_variants=pd.DataFrame(
        [
            row(0.6, variant="original", slice="all"),
            row(0.3, variant="original", slice="against_length"),
            row(0.7, variant="filtered", slice="all"),
        ]
    ),
    judge_audit=pd.DataFrame(
        [
            row(0.6, exemplars="random", slice="all"),
            row(0.9, exemplars="random", slice="objective"),
        ]
    ),
    people_audit=pd.DataFrame(
        [
            ("all", "all", "alpha", 0.5, 30),
            ("annotator", "ann", "agreement", 0.75, 20),
            ("annotator", "ann", "cost_per_pair", nan, 20),
        ],
        columns=["scope", "name", "measure", "value", "num_verdicts"],
    ),
    judge_quality=pd.DataFrame(
        [
            row(0.8, against="gold", judge="a", measure="agreement", slice="all"),
            row(0.7, against="gold", judge="a", measure="agreement", slice="math"),
            row(nan, 0, against="truth", judge="panel", measure="length_bias", slice="all"),
        ]
    ),
    leaderboard=pd.DataFrame(
        [{"model_size": "qwen3-0.6b", "average": np.float64(0.5), "rmb": nan}]
    ),
    claims=[Claim(name="n", claim="c", value=nan, low=nan, high=nan, n=0, threshold=0.1)],
    flip_guard={"max_confidence": np.float32(0.5), "vector": np.array([1.0, np.inf])},
    nights={"clean_pool": "2026-11-30 02:10 UTC"},
    simulated=("people",),
    next_steps=["look"],
)
REPORT = build_report(FACTS)


def test_the_report_has_the_keys_that_others_read():
    assert {
        "profile",
        "seed",
        "seconds",
        "pool",
        "decisions",
        "label_accuracy",
        "gold_accuracy_by_iteration",
        "rm_accuracy",
        "judge_agreement",
        "leaderboard",
    } <= set(REPORT)
    assert set(REPORT["decisions"]) == {"kept", "flipped", "discarded"}


def test_judges_stand_by_what_they_were_measured_against():
    quality = REPORT["judge_quality"]
    assert quality["gold"]["a"] == {"agreement": accuracy(0.8), "agreement math": accuracy(0.7)}
    assert quality["truth"]["panel"]["length_bias"]["value"] is None


def test_the_report_is_strict_json_and_comes_back_the_same():
    text = json.dumps(REPORT, allow_nan=False)
    assert json.loads(text) == REPORT


def test_what_is_not_a_number_becomes_null():
    assert REPORT["label_accuracy"]["flipped"] == {"value": None, "low": None, "high": None, "n": 0}
    assert REPORT["leaderboard"] == [{"model_size": "qwen3-0.6b", "average": 0.5, "rmb": None}]
    assert REPORT["claims"][0]["value"] is None
    assert REPORT["claims"][0]["held"] is False
    assert REPORT["claims"][0]["verdict"] == "not measured"
    assert REPORT["flip_guard"] == {"max_confidence": 0.5, "vector": [1.0, None]}


def test_decisions_are_counted_and_none_is_zero():
    assert REPORT["decisions"] == {"kept": 7, "flipped": 0, "discarded": 1}
    assert REPORT["decisions_by_reason"]["kept: human_agrees"] == 2


def test_decisions_are_told_apart_by_source():
    assert REPORT["decisions_by_source"] == {
        "a": {"kept": 5, "flipped": 0, "discarded": 0},
        "b": {"kept": 2, "flipped": 0, "discarded": 1},
    }
    total = sum(sum(row.values()) for row in REPORT["decisions_by_source"].values())
    assert total == sum(REPORT["decisions"].values()) == sum(REPORT["decisions_by_reason"].values())


def test_curated_pairs_are_those_that_the_export_holds():
    assert REPORT["export"] == {
        "num_train": 7,
        "num_validation": 3,
        "num_flipped": 4,
        "by_tier": {"curated": 4, "gold": 2, "recycled": 1},
        "by_source": {"a": 3, "b": 7},
    }


def test_what_nobody_measured_costs_null_and_not_nothing():
    assert REPORT["cost"] == {"cpu_hours": 0.5, "human_hours": None}
    assert REPORT["made"] == {"version": "1"}
    assert REPORT["fingerprints"] == {"clean_pool": "f"}
    assert REPORT["releases"][0]["average"] == accuracy(0.5)


def test_accuracies_land_under_their_names():
    assert REPORT["label_accuracy"]["before"] == accuracy(0.7, 80)
    assert REPORT["label_accuracy"]["n"] == 80
    assert REPORT["filter_precision"]["gold_rm"]["flipped"] == accuracy(0.6)
    assert list(REPORT["filter_precision"]) == ["gold_rm", "best_rm"]
    assert REPORT["rm_accuracy"] == {"original": accuracy(0.6), "filtered": accuracy(0.7)}
    assert REPORT["rm_accuracy_against_length"] == {"original": accuracy(0.3)}
    assert REPORT["judge_agreement"] == {"random": accuracy(0.6)}
    assert REPORT["judge_agreement_by_objectivity"]["objective"] == {"random": accuracy(0.9)}
    assert REPORT["judge_agreement_by_objectivity"]["subjective"] == {}


def test_iterations_come_in_order_without_slices():
    assert [each["value"] for each in REPORT["gold_accuracy_by_iteration"]] == [0.6, 0.8]
    assert [each["value"] for each in REPORT["test_accuracy_by_iteration"]] == [0.5]


def test_without_a_test_set_gold_validation_is_not_called_one():
    report = build_report(replace(FACTS, has_test_set=False))
    assert report["test_accuracy_by_iteration"] == []
    assert report["test_set"] == "gold validation (no clean test set)"
    assert REPORT["test_set"] == "the clean test set"


def test_seconds_are_rounded_and_numpy_is_gone():
    assert REPORT["seconds"] == 12.3
    assert type(REPORT["pool"]["read"]) is int


def test_tables_of_accuracies_are_read_by_column():
    found = accuracies(FACTS.judge_audit.iloc[:1], "exemplars")
    assert (found["random"].value, found["random"].n) == (0.6, 10)
    assert set(precision_by_rule(FACTS.filter_audit)["gold_rm"]) == {"kept", "flipped"}


def test_people_stand_by_scope_and_name_and_what_was_not_recorded_is_null():
    assert REPORT["people"] == {
        "all": {"all": {"num_verdicts": 30, "alpha": 0.5}},
        "annotator": {"ann": {"num_verdicts": 20, "agreement": 0.75, "cost_per_pair": None}},
    }
