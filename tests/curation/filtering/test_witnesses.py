"""What reward models, judges and people say, relative to each pair's source label."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from synpref_dagster.curation.filtering.witnesses import (
    human_labels,
    witness_frame,
    witnesses_from_frame,
)
from synpref_dagster.pairs.accuracy import confidence
from synpref_dagster.pairs.record import PreferencePair, id_index


@given(st.floats(-1e6, 1e6))
def test_confidence_of_the_opposite_label_is_the_complement(margin):
    p, q = confidence(np.array([margin, -margin]))
    assert 0.0 <= p <= 1.0
    assert p + q == pytest.approx(1.0)
    assert (p > 0.5) == (margin > 0) or abs(margin) < 1e-12


def test_confidence_of_a_missing_margin_is_missing():
    assert np.isnan(confidence(np.array([np.nan])))[0]


def test_evidence_about_gold_pairs_comes_back_from_a_table_as_witnesses():
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": str(n)},),
            chosen="a",
            rejected="b",
            source="s",
            origin="human",
        )
        for n in range(3)
    ]
    ids = [each.pair_id for each in pairs]
    gold = pd.DataFrame({"pair_id": id_index(reversed(ids)), "label": [1, -1, 1]})
    assert human_labels(pairs, gold) == [1, -1, 1]
    frame = witness_frame(
        pairs,
        gold,
        judged=pd.DataFrame({"pair_id": id_index(ids[:1]), "label": [-1]}),
        best_margin=np.array([1.0, 2.0, 3.0], dtype=np.float32),
        gold_margin=np.array([-1.0, -2.0, np.nan], dtype=np.float32),
    )
    witnesses = witnesses_from_frame(frame)
    assert frame["pair_id"].tolist() == ids
    assert witnesses.judge_label.tolist() == [-1, 0, 0]
    assert witnesses.human_label.tolist() == [1, -1, 1]
    assert witnesses.best_margin.tolist() == [1.0, 2.0, 3.0]
    assert witnesses.human_seen.all()
