"""What is measured about people, on answers a person can count."""

import math

import pandas as pd
import pytest

from synpref_dagster.people.agreement import AGREEMENT_COLUMNS
from synpref_dagster.people.quality import QUALITY_COLUMNS, people_quality, wide

# (asset, pair, annotator, answer, seconds, time)
ANSWERS = [
    ("seed", b"a", "ann", "1", 30.0, 1.0),
    ("seed", b"a", "bob", "1", 60.0, 2.0),
    ("seed", b"b", "ann", "-1", 30.0, 3.0),
    ("seed", b"b", "bob", "1", 60.0, 4.0),
    ("more", b"c", "ann", "undecided", 30.0, 5.0),
    ("more", b"d", "ann", "1", 30.0, 6.0),
]
CATEGORIES = {b"a": "math", b"b": "editing", b"c": "math"}


@pytest.fixture(scope="module")
def quality():
    answers = pd.DataFrame(ANSWERS, columns=AGREEMENT_COLUMNS)
    return people_quality(answers, CATEGORIES, hourly_rates={"bob": 60.0})


def test_the_whole_says_agreement_time_and_cost(quality):
    assert list(quality.columns) == QUALITY_COLUMNS
    [whole] = wide(quality, "all").to_dict("records")
    assert whole["num_pairs_seen_twice"] == 2
    assert whole["pairwise"] == 0.5
    assert whole["num_annotators"] == 2
    assert whole["undecided_share"] == pytest.approx(1 / 6)
    assert whole["median_seconds"] == 30
    assert whole["minutes_per_pair"] == pytest.approx(4 / 4)  # 240 seconds for four pairs
    assert whole["cost_per_pair"] == pytest.approx(2.0 / 4)  # 120 seconds of bob for four pairs
    assert whole["hours"] == pytest.approx(240 / 3600)
    assert whole["cost"] == pytest.approx(2.0)


def test_every_asset_and_category_has_its_agreement(quality):
    assets = wide(quality, "asset").set_index("name")
    assert assets.loc["seed", "pairwise"] == 0.5
    assert assets.loc["more", "num_pairs_seen_twice"] == 0
    assert math.isnan(assets.loc["more", "alpha"])
    by_category = wide(quality, "category").set_index("name")["pairwise"]
    assert by_category["math"] == 1.0
    assert by_category["editing"] == 0.0
    assert math.isnan(by_category["unknown"])


def test_every_annotator_has_quality_drift_pace_and_cost(quality):
    of = wide(quality, "annotator").set_index("name")
    assert of.loc["ann", "num_verdicts"] == 4
    assert of.loc["ann", "agreement"] == 0.5
    assert of.loc["bob", "drift"] == -1.0  # agreed first, then not
    assert of.loc["bob", "median_seconds"] == 60
    assert of.loc["bob", "cost_per_pair"] == pytest.approx(1.0)
    assert math.isnan(of.loc["ann", "cost_per_pair"])


def test_what_was_not_recorded_is_not_zero():
    answers = pd.DataFrame(ANSWERS, columns=AGREEMENT_COLUMNS).assign(
        seconds=float("nan"), created_at=float("nan")
    )
    quality = people_quality(answers, CATEGORIES, hourly_rates={})
    unknown = ["median_seconds", "minutes_per_pair", "cost_per_pair", "hours", "cost", "drift"]
    assert quality[quality["measure"].isin(unknown)]["value"].isna().all()
    assert wide(quality, "all")["pairwise"].tolist() == [0.5]


def test_nobody_who_answered_is_an_empty_table():
    quality = people_quality(pd.DataFrame(columns=AGREEMENT_COLUMNS), {}, hourly_rates={})
    assert wide(quality, "annotator").empty
    assert wide(quality, "all")["num_verdicts"].tolist() == [0]
