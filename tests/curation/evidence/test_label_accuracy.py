"""Accuracies of labels, models and judges, by hand."""

from math import isnan

import numpy as np
import pandas as pd

from synpref_dagster.curation.evidence.label_accuracy import (
    HUMAN_REASONS,
    accuracy_on,
    agreement,
    agreement_frame,
    decided_by_machine,
    label_accuracy,
    longer_is_better,
    truth_by_source,
)
from synpref_dagster.curation.filtering.decision import REASONS
from synpref_dagster.pairs.record import PreferencePair, id_index


def shares(found):
    return {name: (each.value, each.n) for name, each in found.items()}


def test_label_accuracy_by_hand():
    rows = [
        ("kept", 1),
        ("kept", 1),
        ("kept", -1),
        ("flipped", -1),
        ("flipped", -1),
        ("flipped", 1),
        ("discarded", -1),
        ("discarded", 1),
        ("discarded", -1),
        ("kept", 0),  # truth unknown: not counted anywhere
    ]
    decisions = pd.DataFrame({"decision": [decision for decision, _ in rows]})
    truth = np.array([right for _, right in rows], dtype=np.int8)
    assert shares(label_accuracy(decisions, truth)) == {
        "before": (4 / 9, 9),
        "kept": (2 / 3, 3),
        "flipped": (2 / 3, 3),
        "after": (4 / 6, 6),
        "whole_pool": (5 / 9, 9),
    }


def test_without_flips_their_accuracy_is_unknown():
    found = label_accuracy(pd.DataFrame({"decision": ["kept"]}), np.array([1], dtype=np.int8))
    assert isnan(found["flipped"].value)
    assert found["flipped"].n == 0


def test_what_people_decided_is_no_machine_decision():
    decisions = pd.DataFrame({"reason": list(REASONS)})
    by_machine = decided_by_machine(decisions)
    assert set(decisions["reason"][~by_machine]) == set(HUMAN_REASONS)
    assert {r for r in REASONS if r.startswith("human_")} == set(HUMAN_REASONS)


def test_the_truth_rests_on_sources_and_on_what_people_decided_themselves():
    decisions = pd.DataFrame(
        [
            ("crowd", "human_agrees"), ("crowd", "human_disagrees"), ("crowd", "all_agree"),
            ("crowd", "human_agrees"), ("hh", "all_agree"),
        ],
        columns=["source", "reason"],
    )  # fmt: skip
    truth = np.array([1, -1, 1, 0, 0], dtype=np.int8)
    assert truth_by_source(decisions, truth).to_dict("records") == [
        {"source": "crowd", "num_known": 3, "num_by_people": 2},
        {"source": "hh", "num_known": 0, "num_by_people": 0},
    ]


def pair(chosen, rejected):
    return PreferencePair(
        conversation=({"role": "user", "content": "Hi"},),
        chosen=chosen,
        rejected=rejected,
        source="s",
        origin="human",
    )


PAIRS = [pair("long one", "short"), pair("brief", "much longer"), pair("same", "size")]


def test_a_length_detector_is_unmasked_on_the_slice_against_length():
    by_length = longer_is_better(PAIRS)
    assert by_length.tolist() == [True, False, False]
    assert shares(accuracy_on(PAIRS, by_length)) == {"all": (1 / 3, 3), "against_length": (0.0, 2)}


def test_no_pairs_have_no_accuracy():
    assert accuracy_on([], np.array([], dtype=bool))["all"].n == 0


LABELS = pd.DataFrame(
    {
        "label": [1, 1, -1, 1, 0, -1],
        "objectivity": ["objective", "objective", "objective", "subjective", "subjective", None],
    }
)


def test_agreement_is_measured_on_decided_pairs_and_how_many_were_decided_stands_beside_it():
    assert shares(agreement(LABELS)) == {
        "all": (3 / 5, 5),
        "objective": (2 / 3, 3),
        "subjective": (1 / 1, 1),
        "decided": (5 / 6, 6),
    }


def test_agreement_per_choice_of_exemplars_is_one_row_per_slice():
    ids = [bytes([n + 1]) * 14 + b"\x00\x00" for n in range(2)]
    labels = pd.DataFrame({"pair_id": id_index(ids), "label": [1, -1]})
    frame = agreement_frame(
        {"none": labels, "random": labels.assign(label=1)},
        {ids[0]: "objective", ids[1]: "subjective"},
    )
    found = {(row.exemplars, row.slice): (row.value, row.n) for row in frame.itertuples()}
    assert found[("none", "all")] == (0.5, 2)
    assert found[("none", "subjective")] == (0.0, 1)
    assert found[("random", "all")] == (1.0, 2)
    assert len(frame) == 8
