"""Claims are held against intervals: held, not held, not decided, not measured."""

from math import nan

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.curation.evidence.claims import (
    CLAIMS,
    NO_CLAIM,
    Claim,
    campaign_claims,
    claim_rows,
    claims_in,
    iteration_claims,
    judge_claims,
    label_claims,
    model_claims,
    rule_claims,
)
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.differences import Difference
from synpref_dagster.pairs.record import id_index


def right_of(num_right, num_items=100):
    return np.arange(num_items) < num_right


def values(found):
    return {name: round(each.value, 6) for name, each in found.items()}


@pytest.mark.parametrize(
    ("low", "value", "high", "threshold", "verdict"),
    [
        (0.01, 0.10, 0.20, 0.0, "held"),
        (0.00, 0.10, 0.20, 0.0, "not decided"),
        (-0.1, 0.10, 0.20, 0.0, "not decided"),
        (-0.1, -0.05, 0.00, 0.0, "not held"),
        (0.01, 0.10, 0.20, 0.15, "not decided"),
        (0.01, 0.05, 0.10, 0.15, "not held"),
        (0.15, 0.18, 0.20, 0.15, "held"),
        (-0.2, -0.1, -0.05, -0.3, "not held"),
        (nan, nan, nan, 0.0, "not measured"),
    ],
)
def test_the_whole_interval_decides(low, value, high, threshold, verdict):
    claim = Claim(name="n", claim="c", value=value, low=low, high=high, n=10, threshold=threshold)
    assert claim.outcome == verdict


def test_models_are_compared_on_the_same_pairs():
    found = model_claims(
        {
            "original": right_of(60),
            "original_equal_size": right_of(62),
            "filtered": right_of(75),
            "filtered_corrected": right_of(78),
        }
    )
    assert values(found) == {
        "filtered_beats_original": 0.15,
        "not_a_size_effect": 0.13,
        "corrected_beats_original": 0.18,
        "corrected_beats_filtered": 0.03,
    }
    # All 15 pairs on which they differ speak for it; on other pairs 0.15 at n = 100 is nothing.
    assert found["filtered_beats_original"].low > 0.05
    assert {each.n for each in found.values()} == {100}


def test_the_last_iteration_is_compared_with_the_seed():
    found = iteration_claims([right_of(60), right_of(90), right_of(70)])
    assert values(found) == {"iterations_improve": 0.1}


def test_curated_labels_are_compared_with_the_pool_they_are_part_of():
    decisions = pd.DataFrame({"decision": ["kept"] * 4 + ["flipped"] * 2 + ["discarded"] * 2})
    truth = np.array([1, 1, 1, -1, -1, 1, -1, -1], dtype=np.int8)
    found = label_claims(decisions, truth)
    assert values(found) == {"labels_improve": round(4 / 6 - 4 / 8, 6)}
    assert found["labels_improve"].n == 6


def test_rules_are_compared_by_hand():
    rows = [  # gold margin, best margin, judges' label, truth
        (2, 2, 1, 1),
        (2, -2, 1, 1),
        (2, -2, -1, -1),
        (-2, -2, -1, -1),
        (-2, -2, -1, 1),
        (-2, 2, 0, -1),
        (2, 2, 0, 1),
    ]
    gold, best, judges, truth = (np.array(column) for column in zip(*rows, strict=True))
    found = rule_claims(
        Witnesses(
            gold_margin=gold.astype(np.float32),
            best_margin=best.astype(np.float32),
            judge_label=judges.astype(np.int8),
            human_label=truth.astype(np.int8),
            human_seen=np.ones(7, dtype=bool),
        )
    )
    # Consistency keeps 3 of 3 right, gold 3 of 4, best 2 of 3; it flips 1 of 2, gold 2 of 3, best
    # 2 of 4.
    assert values(found) == {
        "kept_is_right": 1.0,
        "flipped_is_right": 0.5,
        "both_keep_better_than_one": 0.25,
        "both_flip_better_than_one": round(0.5 - 2 / 3, 6),
        "gold_keeps_better_than_best": round(3 / 4 - 2 / 3, 6),
    }
    assert found["flipped_is_right"].n == 2


def test_judges_are_compared_pair_by_pair_in_whatever_order_they_come():
    ids = id_index([bytes([n + 1]) * 14 + b"\x00\x00" for n in range(4)])
    table = pd.DataFrame({"pair_id": ids})
    found = judge_claims(
        {
            "none": table.assign(label=[1, -1, -1, 0]),
            "random": table.assign(label=[1, 1, -1, -1]).iloc[::-1],
            "retrieved": table.assign(label=[1, 1, 1, 1]).iloc[:3],
        }
    )
    assert values(found) == {
        "retrieved_beats_random": 0.5,
        "random_beats_none": round(1 / 2 - 1 / 3, 6),
    }
    assert [each.n for each in found.values()] == [3, 3]
    same_order = judge_claims(
        {
            "none": table.assign(label=[1, -1, -1, 0]),
            "random": table.assign(label=[1, 1, -1, -1]),
            "retrieved": table.assign(label=[1, 1, 1, 1]).iloc[:3],
        }
    )
    assert same_order == found


def test_claims_come_back_from_the_evidence_tables_and_what_is_missing_was_not_measured():
    measured = iteration_claims([right_of(60), right_of(70)])
    table = pd.DataFrame(
        [
            {"claim": NO_CLAIM, "value": 0.5, "low": 0.4, "high": 0.6, "n": 9},
            *claim_rows(measured),
        ]
    )
    assert claims_in([table, table.iloc[:1]]) == measured
    claims = campaign_claims(claims_in([table]), thresholds={"iterations_improve": 0.5})
    assert [claim.name for claim in claims] == list(CLAIMS)
    verdicts = {claim.name: claim.outcome for claim in claims}
    assert verdicts.pop("iterations_improve") == "not held"
    assert set(verdicts.values()) == {"not measured"}


def test_a_share_of_right_labels_holds_only_above_what_a_coin_reaches():
    found = {
        "flipped_is_right": Difference(value=0.09, low=0.02, high=0.38, n=11),
        "kept_is_right": Difference(value=0.9, low=0.8, high=0.95, n=100),
    }
    outcome = {claim.name: claim.outcome for claim in campaign_claims(found, thresholds={})}
    assert (outcome["flipped_is_right"], outcome["kept_is_right"]) == ("not held", "held")
