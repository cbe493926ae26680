"""The majority, and the model that weighs annotators."""

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.curation.verification.people import (
    CONSENSUS_COLUMNS,
    LEDGER_COLUMNS,
    consensus,
)
from synpref_dagster.people.consensus import annotator_skill, labels_by_rule

SKILL = {"careful": 0.95, "good": 0.9, "guessing": 0.5, "contrary": 0.35}


def an_id(number):
    return number.to_bytes(15, "big") + b"\x00"  # a trailing zero byte must survive


def crowd(num_pairs, *, seed=0, right_share=0.65):
    """A ledger of four people of different skill, and the true signs."""
    dice = np.random.default_rng(seed)
    truth = np.where(dice.random(num_pairs) < right_share, 1, -1)
    rows = [
        (an_id(n), an_id(n), who, int(truth[n] if dice.random() < share else -truth[n]), True)
        for n in range(num_pairs)
        for who, share in SKILL.items()
    ]
    return pd.DataFrame(rows, columns=LEDGER_COLUMNS), truth


def test_the_model_finds_who_is_right_and_beats_the_majority():
    ledger, truth = crowd(300)
    right = {
        rule: float((labels_by_rule(ledger, rule=rule)["label"].to_numpy() == truth).mean())
        for rule in ("majority", "dawid_skene")
    }
    assert right["dawid_skene"] > 0.9
    assert right["majority"] < 0.8
    skill = annotator_skill(ledger)
    assert sorted(skill, key=skill.get, reverse=True)[2:] == ["guessing", "contrary"]
    assert skill == pytest.approx(SKILL, abs=0.1)


def test_a_label_does_not_depend_on_the_label_the_pair_came_with():
    ledger, _ = crowd(80)
    flipped = {an_id(n) for n in range(0, 80, 3)}
    turned = ledger.assign(
        verdict=[
            -row.verdict if row.pair_id in flipped else row.verdict for row in ledger.itertuples()
        ]
    )
    before, after = (labels_by_rule(rows, rule="dawid_skene") for rows in (ledger, turned))
    signs = [-1 if pair_id in flipped else 1 for pair_id in before["pair_id"]]
    assert (after["label"] == before["label"] * signs).all()


def test_the_majority_is_the_rule_of_the_method():
    ledger, _ = crowd(40)
    pd.testing.assert_frame_equal(labels_by_rule(ledger, rule="majority"), consensus(ledger))


def test_ties_and_what_nobody_can_decide_stay_without_a_label():
    ledger, _ = crowd(60)
    more = [
        *((an_id(100), an_id(100), who, 0, True) for who in SKILL),
        *((an_id(101), an_id(101), who, 0, False) for who in SKILL),
    ]
    ledger = pd.concat([ledger, pd.DataFrame(more, columns=LEDGER_COLUMNS)], ignore_index=True)
    result = labels_by_rule(ledger, rule="dawid_skene")
    assert list(result.columns) == CONSENSUS_COLUMNS
    assert result["pair_id"].tolist() == list(dict.fromkeys(ledger["pair_id"]))
    last = result.tail(2)
    assert last["label"].tolist() == [0, 0]
    assert last["reason"].tolist() == ["tied", "undecidable"]


def test_of_several_verdicts_of_one_person_the_last_counts():
    ledger, _ = crowd(60)
    changed = ledger.iloc[:1].assign(verdict=-ledger["verdict"].iloc[0])
    again = pd.concat([ledger, changed], ignore_index=True)
    instead = ledger.copy()
    instead.loc[0, "verdict"] = -instead.loc[0, "verdict"]
    one, other = (labels_by_rule(rows, rule="dawid_skene") for rows in (again, instead))
    pd.testing.assert_frame_equal(
        one.sort_values("pair_id", ignore_index=True),
        other.sort_values("pair_id", ignore_index=True),
    )


def test_an_empty_ledger_gives_an_empty_consensus():
    empty = pd.DataFrame(columns=LEDGER_COLUMNS)
    assert list(labels_by_rule(empty, rule="dawid_skene").columns) == CONSENSUS_COLUMNS
    assert annotator_skill(empty) == {}


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "crowdkit.aggregation", None)
    ledger, _ = crowd(3)
    with pytest.raises(ValueError, match=r"synpref-dagster\[crowd\]"):
        labels_by_rule(ledger, rule="dawid_skene")
