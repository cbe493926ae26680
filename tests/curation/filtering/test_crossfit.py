"""Cross-fitting on gold: no model scores a conversation that it has seen."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from synpref_dagster.curation.filtering.crossfit import (
    best_by_accuracy,
    cross_fitted_margins,
    folds_by_conversation,
)
from synpref_dagster.pairs.record import PreferencePair


def pair(ask, chosen="good", rejected="bad"):
    conversation = ({"role": "user", "content": ask},)
    return PreferencePair(
        conversation=conversation, chosen=chosen, rejected=rejected, source="s", origin="human"
    )


@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.integers(2, 5), st.integers(0, 99))
def test_no_pair_is_scored_by_a_model_that_saw_its_conversation(asks, num_folds, seed):
    pairs = [pair(f"q{ask}", f"good {row}") for row, ask in enumerate(asks)]
    scored = []

    def train_and_score(fold, train, score):
        assert not {p.conversation_id for p in train} & {p.conversation_id for p in score}
        assert len(train) + len(score) == len(pairs)
        scored.extend(p.chosen for p in score)
        return np.full(len(score), fold, dtype=np.float32)

    margins = cross_fitted_margins(
        pairs, [1] * len(pairs), num_folds=num_folds, seed=seed, train_and_score=train_and_score
    )
    known = ~np.isnan(margins)
    assert sorted(scored) == sorted(p.chosen for p, k in zip(pairs, known, strict=True) if k)
    folds = folds_by_conversation(
        [p.conversation_id for p in pairs], num_folds=num_folds, seed=seed
    )
    assert np.array_equal(margins[known], folds[known])


def test_models_train_on_the_human_label_and_score_the_source_label():
    pairs = [pair(f"q{i}", "good", "bad") for i in range(40)]
    labels = [1, -1] * 20

    def train_and_score(fold, train, score):
        assert {p.chosen for p in train} == {"good", "bad"}
        assert {p.chosen for p in score} == {"good"}
        return np.ones(len(score), dtype=np.float32)

    margins = cross_fitted_margins(
        pairs, labels, num_folds=2, seed=0, train_and_score=train_and_score
    )
    assert margins.tolist() == [1.0] * 40


def test_a_fold_with_nothing_to_train_on_scores_nothing():
    def never(fold, train, score):
        raise AssertionError("one conversation leaves nothing to train on")

    margins = cross_fitted_margins(
        [pair("q"), pair("q", "better")], [1, 1], num_folds=2, seed=0, train_and_score=never
    )
    assert np.isnan(margins).all()


@pytest.mark.parametrize("labels", [[1], [1, 0], [1, 1, 1]])
def test_every_pair_needs_one_decided_label(labels):
    with pytest.raises(ValueError, match="2 gold pairs need one label each"):
        cross_fitted_margins(
            [pair("q"), pair("r")], labels, num_folds=2, seed=0, train_and_score=None
        )


def test_folds_do_not_change_when_rows_are_added():
    ids = [bytes([i]) * 15 + b"\x00" for i in range(50)]
    folds = folds_by_conversation(ids, num_folds=3, seed=1)
    assert folds_by_conversation(ids[::2], num_folds=3, seed=1).tolist() == folds[::2].tolist()
    assert set(folds.tolist()) == {0, 1, 2}


def test_one_fold_is_no_cross_fitting():
    with pytest.raises(ValueError, match="num_folds is 1"):
        folds_by_conversation([], num_folds=1, seed=0)


def test_the_best_candidate_is_the_later_one_among_equals():
    assert best_by_accuracy(pd.Series({"m0": 0.8, "m1": 0.9, "m2": 0.9, "m3": 0.7})) == "m2"
    assert best_by_accuracy(pd.Series({"m0": 0.8, "m1": np.nan})) == "m0"


@pytest.mark.parametrize("accuracies", [{}, {"m0": np.nan}])
def test_without_any_accuracy_there_is_no_best_candidate(accuracies):
    with pytest.raises(ValueError, match="gold needs validation pairs"):
        best_by_accuracy(pd.Series(accuracies, dtype=float))
