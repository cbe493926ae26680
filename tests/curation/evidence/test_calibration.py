"""How often a model is right that is so sure, on pairs that a person can count."""

import numpy as np
import pytest

from synpref_dagster.curation.evidence.calibration import calibration
from synpref_dagster.curation.filtering.witnesses import Witnesses


def evidence(gold_margin, human_label):
    num = len(gold_margin)
    return Witnesses(
        gold_margin=np.array(gold_margin, dtype=np.float32),
        best_margin=np.full(num, np.nan, dtype=np.float32),
        judge_label=np.zeros(num, dtype=np.int8),
        human_label=np.array(human_label, dtype=np.int8),
        human_seen=np.ones(num, dtype=bool),
    )


def test_a_bin_says_how_often_people_agree_with_a_model_that_is_so_sure():
    # |1.2| is p = .77, |3| is p = .95; the side that the model prefers counts, not the label's.
    rows = calibration(evidence([1.2, -1.2, 3.0, -3.0, -3.0], [1, 1, 1, -1, -1]))["gold"]
    assert [(row["from"], row["to"], row["n"], row["value"]) for row in rows] == [
        (0.7, 0.8, 2, 0.5),
        (0.9, 1.0, 3, 1.0),
    ]
    assert rows[0]["confidence"] == pytest.approx(0.7685, abs=1e-3)
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_undecided_people_and_missing_rewards_are_left_out():
    found = calibration(evidence([1.0, np.nan, 1.0], [0, 1, 1]))
    assert sum(row["n"] for row in found["gold"]) == 1
    assert found["best"] == []


def test_a_model_that_is_undecided_is_wrong_and_one_that_is_certain_has_its_place():
    rows = calibration(evidence([0.0, np.float32(3e38)], [1, 1]))["gold"]
    assert [(row["from"], row["value"]) for row in rows] == [(0.5, 0.0), (0.9, 1.0)]
