"""Shares and their Wilson intervals."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given, strategies as st

from synpref_dagster.pairs.accuracy import Accuracy, accuracy_of, wilson_interval


def test_the_interval_has_its_textbook_values():
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


@given(st.integers(1, 2000), st.data())
def test_the_interval_holds_the_share_and_stays_inside_zero_and_one(total, data):
    right = data.draw(st.integers(0, total))
    low, high = wilson_interval(right, total)
    assert 0.0 <= low <= right / total <= high <= 1.0


@given(st.integers(1, 500), st.data())
def test_the_interval_is_symmetric_in_right_and_wrong(total, data):
    right = data.draw(st.integers(0, total))
    low, high = wilson_interval(right, total)
    other_low, other_high = wilson_interval(total - right, total)
    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low), abs=1e-12)


@pytest.mark.parametrize(("right", "total"), [(11, 10), (-1, 10), (0, -1)])
def test_impossible_counts_are_refused(right, total):
    with pytest.raises(ValueError, match="num_right is"):
        wilson_interval(right, total)


def test_an_accuracy_counts_what_is_right():
    found = accuracy_of(np.array([True, True, False, True]))
    assert (found.value, found.n) == (0.75, 4)
    assert (found.low, found.high) == wilson_interval(3, 4)


def test_nothing_counted_is_not_a_number():
    found = accuracy_of(np.array([], dtype=bool))
    assert isinstance(found, Accuracy)
    assert found.n == 0
    assert isnan(found.value)
    assert isnan(found.low)
    assert isnan(found.high)
