"""Margins counted shard by shard say what all of them together would."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from synpref_dagster.curation.filtering.margins import count_margins, margins_by, sum_margins


def rewards(best, gold):
    return pa.table(
        {"best_margin": pa.array(best, pa.float32()), "gold_margin": pa.array(gold, pa.float32())}
    )


def summed(*shards, num_bins=30):
    counted = [count_margins(shard) for shard in shards]
    return sum_margins(
        (each["totals"] for each in counted), (each["bins"] for each in counted), num_bins=num_bins
    )


def test_shares_count_every_pair_also_ties_and_missing_margins():
    found = summed(rewards([1.0, -1.0, 0.0], [2.0, 1.0, 0.0]), rewards([np.nan, 3.0], [1.0, None]))
    assert found.share("num_best_positive") == 2 / 5
    assert found.share("num_gold_positive") == 3 / 5
    assert found.share("num_agreeing") == 2 / 5  # both for, both undecided
    assert found.totals["num_best_missing"] == found.totals["num_gold_missing"] == 1


def test_bins_hold_the_margins_between_their_edges():
    found = summed(rewards([0.0, 0.9, 1.0], [-1.0, -0.5, 1.99]), num_bins=3)
    assert found.edges.tolist() == [-1.0, 0.0, 1.0, 2.0]
    assert found.counts["best"].tolist() == [0, 2, 1]
    assert found.counts["gold"].tolist() == [2, 0, 1]


@given(
    st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), max_size=40),
    st.integers(0, 40),
)
def test_how_a_pool_is_cut_into_shards_changes_no_count(margins, place):
    def of(rows):
        return rewards([best for best, _ in rows], [gold for _, gold in rows])

    whole, cut = summed(of(margins)), summed(of(margins[:place]), of(margins[place:]))
    assert cut.totals == whole.totals
    assert cut.edges.tolist() == whole.edges.tolist()
    assert len(whole.edges) <= 31 + 1
    for name in ("best", "gold"):
        assert cut.counts[name].tolist() == whole.counts[name].tolist()
        missing = whole.totals[f"num_{name}_missing"]
        assert whole.counts[name].sum() == len(margins) - missing


def test_without_pairs_there_is_no_share_and_nothing_to_count():
    found = summed(rewards([], []))
    assert np.isnan(found.share("num_agreeing"))
    assert found.counts["best"].sum() == 0


def test_margins_beyond_all_measure_count_as_far_away():
    found = summed(rewards([1e30, -1e30], [0.0, 0.0]))
    assert found.counts["best"].sum() == 2
    assert found.edges[0] == pytest.approx(-1024.0, abs=70.0)


def test_margins_lie_apart_by_what_was_decided():
    shards = [
        pa.table({"decision": ["kept", "flipped", "kept"], "best_margin": [0.5, -2.0, 1.99]}),
        pa.table({"decision": ["kept", "discarded"], "best_margin": [None, -0.25]}),
    ]
    floats = pa.schema([("decision", pa.string()), ("best_margin", pa.float32())])
    found = margins_by([shard.cast(floats) for shard in shards], "decision", num_bins=4)
    assert found["edges"] == [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert found["num_pairs"] == {
        "discarded": [0, 1, 0, 0],
        "flipped": [1, 0, 0, 0],
        "kept": [0, 0, 1, 1],  # a pair without a reward is in none
    }
