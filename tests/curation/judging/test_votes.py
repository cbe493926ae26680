"""Votes to labels: by majority, or by what each judge's word is worth."""

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.judging.votes import VOTE_COLUMNS, labels_from_votes, panel_verdicts

JUDGES = ("a", "b", "c")


def votes(*per_pair):
    """One vote per judge and pair, the score being the vote."""
    rows = [
        (bytes([pair]), judge, vote, float(vote), 2, 0)
        for pair, said in enumerate(per_pair)
        for judge, vote in zip(JUDGES, said, strict=False)
    ]
    frame = pd.DataFrame(rows, columns=VOTE_COLUMNS)
    return frame.astype({"vote": "int8", "score": "float32"})


def test_one_judge_outweighs_two_when_it_is_worth_more_than_both():
    said = votes((1, -1, -1))
    assert labels_from_votes(said)["label"].tolist() == [-1]
    found = labels_from_votes(said, {"a": 3.0, "b": 1.0, "c": 1.0})
    assert found["label"].tolist() == [1]
    assert found["reason"].tolist() == ["weighted_majority"]
    assert found["confidence"].tolist() == pytest.approx([1 / 5])
    assert found[["num_for", "num_against"]].to_numpy().tolist() == [[1, 2]]


def test_weights_that_balance_are_a_tie_whatever_the_rounding():
    found = labels_from_votes(votes((1, -1, -1)), {"a": 0.3, "b": 0.1, "c": 0.2})
    assert found["label"].tolist() == [0]
    assert found["reason"].tolist() == ["votes_tied"]


def test_a_judge_of_no_weight_decides_nothing_and_the_label_says_why():
    found = labels_from_votes(votes((1, 0, 0), (0, 0, 0)), {"a": 0.0, "b": 1.0, "c": 1.0})
    assert found["label"].tolist() == [0, 0]
    assert found["reason"].tolist() == ["no_weight", "all_abstained"]


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 1.0, "b": -1.0}])
def test_a_judge_without_a_weight_is_refused_by_name(weights):
    with pytest.raises(ValueError, match=r"\['b'\] need a weight"):
        labels_from_votes(votes((1, 1)), weights)


said = st.lists(st.tuples(*[st.sampled_from([-1, 0, 1])] * 3), min_size=1, max_size=20)


@given(said, st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_equal_weights_are_the_majority(rows, weight):
    plain = labels_from_votes(votes(*rows))
    weighted = labels_from_votes(votes(*rows), dict.fromkeys(JUDGES, weight))
    assert weighted["label"].tolist() == plain["label"].tolist()
    assert weighted["confidence"].tolist() == pytest.approx(plain["confidence"].tolist())


@given(said, st.tuples(*[st.floats(0, 10)] * 3))
@settings(max_examples=25, deadline=None)
def test_turning_all_votes_round_turns_the_labels_round(rows, weights):
    by_judge = dict(zip(JUDGES, weights, strict=True))
    turned = [tuple(-vote for vote in row) for row in rows]
    straight = labels_from_votes(votes(*rows), by_judge)
    assert labels_from_votes(votes(*turned), by_judge)["label"].tolist() == [
        -label for label in straight["label"]
    ]


def verdicts(*rows):
    """(judge, sample, chosen_first, choice) about one pair."""
    columns = ["judge", "sample", "chosen_first", "choice"]
    return pd.DataFrame(rows, columns=columns).assign(pair_id=b"p", reason="")


def test_the_panel_says_round_by_round_what_most_judges_say():
    said = verdicts(
        ("a", 0, True, "candidate_1"),
        ("b", 1, True, "candidate_1"),  # each judge's first sample in this order
        ("c", 0, True, "candidate_2"),
        ("a", 2, True, "candidate_2"),
        ("b", 3, True, "candidate_1"),
        ("c", 2, True, "abstain"),
        ("a", 1, False, "abstain"),
        ("b", 0, False, "abstain"),
        ("c", 1, False, "abstain"),
    )
    found = panel_verdicts(said)
    assert found[["chosen_first", "choice"]].to_numpy().tolist() == [
        [True, "candidate_1"],
        [False, "abstain"],
        [True, "tie"],
    ]
    weighed = panel_verdicts(said, {"a": 1.0, "b": 1.0, "c": 3.0})
    assert weighed["choice"].tolist() == ["candidate_2", "abstain", "tie"]
