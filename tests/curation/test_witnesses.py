"""What reward models, judges and people say, relative to each pair's source label."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synpref_dagster.curation.pairs import PreferencePair, id_index
from synpref_dagster.curation.witnesses import (
    confidence,
    human_labels,
    pairs_to_relabel,
    witness_frame,
    witnesses_from_frame,
)


def an_id(number, kind=b"p"):
    return kind + number.to_bytes(13, "big") + b"\x00\x00"


def numbers_of(ids):
    return [int.from_bytes(each[1:14], "big") for each in ids]


def pool_of(*rows):
    """(pair, content) numbers."""
    return pd.DataFrame(
        {
            "pair_id": id_index(an_id(p) for p, _ in rows),
            "content_id": id_index(an_id(c, b"c") for _, c in rows),
        }
    )


def labelled(*rows):
    """(pair, content, label)."""
    frame = pool_of(*((p, c) for p, c, _ in rows))
    return frame.assign(label=np.array([label for _, _, label in rows], dtype=np.int8))


def rewards_of(**margins):
    return pd.DataFrame(
        {
            "pair_id": id_index(an_id(int(name[1:])) for name in margins),
            "best_margin": np.array([m for m, _ in margins.values()], dtype=np.float32),
            "gold_margin": np.array([m for _, m in margins.values()], dtype=np.float32),
        }
    )


@given(st.floats(-1e6, 1e6))
def test_confidence_of_the_opposite_label_is_the_complement(margin):
    p, q = confidence(np.array([margin, -margin]))
    assert 0.0 <= p <= 1.0
    assert p + q == pytest.approx(1.0)
    assert (p > 0.5) == (margin > 0) or abs(margin) < 1e-12


def test_confidence_of_a_missing_margin_is_missing():
    assert np.isnan(confidence(np.array([np.nan])))[0]


def test_judges_are_asked_where_the_best_model_disagrees_is_undecided_or_has_no_reward():
    pool = pool_of((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6))
    rewards = rewards_of(p1=(1.0, 0), p2=(-1.0, 0), p3=(0.0, 0), p4=(np.nan, 0), p5=(-1.0, 0))
    asked = pairs_to_relabel(pool, rewards, labelled={an_id(5, b"c")}, unsure_band=0.0)
    assert numbers_of(asked["pair_id"]) == [2, 3, 4, 6]


def test_a_band_asks_about_unsure_pairs_too():
    pool = pool_of((1, 1), (2, 2))
    rewards = rewards_of(p1=(0.3, 0), p2=(3.0, 0))
    assert len(pairs_to_relabel(pool, rewards, labelled=set(), unsure_band=0.0)) == 0
    asked = pairs_to_relabel(pool, rewards, labelled=set(), unsure_band=0.1)
    assert numbers_of(asked["pair_id"]) == [1]


def test_of_two_twins_one_is_asked():
    pool = pool_of((1, 1), (2, 1))
    asked = pairs_to_relabel(
        pool, rewards_of(p1=(-1.0, 0), p2=(-2.0, 0)), labelled=set(), unsure_band=0.0
    )
    assert numbers_of(asked["pair_id"]) == [1]


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
