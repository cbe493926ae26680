"""The table of sources, from counts that can be added up by hand."""

import pandas as pd
import pytest

from synpref_dagster.curation.evidence.source_accuracy import Estimate
from synpref_dagster.curation.evidence.sources import (
    as_report,
    cells_in,
    model_agreement,
    shares,
    source_rows,
    summed,
)
from synpref_dagster.curation.pool.by_source import pool_rows

READ = pd.DataFrame(
    [("hh", 2_000, 0, 0, 13, 1_987), ("hh", 312, 0, 0, 0, 312), ("lm", 999, 0, 0, 157, 842)],
    columns=["source", "num_rows", "num_unfolded", "num_outside", "num_quarantined", "num_pairs"],
)
QUARANTINED = pd.DataFrame(
    [("lm", "empty_response", 52), ("lm", "tied", 105), ("hh", "identical_responses", 13)],
    columns=["source", "reason", "num_rows"],
)
CLEANED = pd.DataFrame(
    [
        ("hh", "human", True, "", 2_290),
        ("hh", "human", True, "contradictory_label", 4),
        ("hh", "human", False, "duplicate", 5),
        ("lm", "human", True, "", 840),
        ("lm", "human", False, "contaminated", 2),
    ],
    columns=["source", "origin", "kept", "why", "num_pairs"],
)
COUNTS = pd.DataFrame(
    [
        ("hh", "length", "for", 500), ("hh", "length", "against", 500),
        ("hh", "length", "neither", 7),
        ("hh", "length", "for", 100), ("hh", "decision", "kept", 1_200),
        ("hh", "decision", "flipped", 300), ("hh", "decision", "discarded", 794),
        ("hh", "length_after", "for", 3), ("hh", "length_after", "against", 1),
        ("hh", "judges", "for", 60), ("hh", "judges", "against", 40), ("hh", "best_rm", "for", 7),
        ("lm", "votes", "for", 9), ("lm", "votes", "neither", 5), ("lm", "votes", "against", 1),
        ("hh", "cell", "unseen", 7), ("lm", "decision", "kept", 842),
    ],
    columns=["source", "measure", "value", "num_pairs"],
)  # fmt: skip


@pytest.fixture
def pool():
    longer = shares(summed(COUNTS), "length")
    return pool_rows(READ, quarantined=QUARANTINED, cleaned=CLEANED, longer=longer)


def test_the_pool_part_adds_up_source_by_source(pool):
    hh, lm = as_report(pool)
    assert (hh["num_rows"], hh["num_pairs"], hh["num_quarantined"]) == (2_312, 2_299, 13)
    assert (hh["num_duplicates"], hh["num_dropped"], hh["num_clean"]) == (5, 0, 2_294)
    assert hh["num_contradictory"] == 4
    assert hh["num_pairs"] == hh["num_duplicates"] + hh["num_dropped"] + hh["num_clean"]
    assert (lm["num_quarantined"], lm["quarantined_as"]) == (
        157,
        {"tied": 105, "empty_response": 52},
    )
    assert (lm["num_dropped"], lm["dropped_as"]) == (2, {"contaminated": 2})
    assert (hh["longer_before"]["value"], hh["longer_before"]["n"]) == (
        pytest.approx(600 / 1_100),
        1_100,
    )
    assert lm["longer_before"]["n"] == 0


def test_the_whole_table_says_what_became_of_each_source(pool):
    estimate = Estimate(value=0.7, low=0.6, high=0.8, n=90, by="people", covers=0.9)
    hh, lm = as_report(source_rows(pool, summed(COUNTS), {"hh": estimate}))
    assert [hh[f"num_{name}"] for name in ("kept", "flipped", "discarded")] == [1_200, 300, 794]
    assert hh["label_accuracy"] == {
        "value": 0.7, "low": 0.6, "high": 0.8, "n": 90, "by": "people", "covers": 0.9,
    }  # fmt: skip
    assert (hh["judges"]["value"], hh["judges"]["n"]) == (0.6, 100)
    assert (hh["longer_after"]["value"], hh["longer_after"]["n"]) == (0.75, 4)
    assert (lm["votes"]["value"], lm["votes"]["n"]) == (0.9, 10)
    assert (lm["label_accuracy"]["n"], lm["label_accuracy"]["by"]) == (0, "nobody")
    assert hh["votes"]["n"] == lm["judges"]["n"] == 0


def test_cells_and_the_models_agreement_are_counted_by_source():
    assert cells_in(summed(COUNTS)) == {("hh", "unseen"): 7}
    assert model_agreement(summed(COUNTS)) == {"hh": (7, 0), "lm": (0, 0)}


def test_a_source_without_a_pair_has_a_row():
    read = READ.iloc[:0].copy()
    read.loc[0] = ["empty", 3, 0, 0, 3, 0]
    [row] = as_report(pool_rows(
        read, quarantined=QUARANTINED, cleaned=CLEANED.iloc[:0], longer={}
    ))  # fmt: skip
    assert (row["num_rows"], row["num_quarantined"], row["num_clean"]) == (3, 3, 0)
    assert row["quarantined_as"] == {}
