"""Intervals of differences: published values, what must be so by reason, how often they hold."""

from math import isnan

import numpy as np
import pytest

from synpref_dagster.pairs.accuracy import accuracy_of
from synpref_dagster.pairs.differences import Measured, apart, difference, everywhere, least, share


def right(*counts):
    """Bool array: the first count right, the second wrong, and so on."""
    return np.repeat([number % 2 == 0 for number in range(len(counts))], counts)


def interval(found):
    return found.low, found.high


def part(right, *, start, total):
    """Something that counts for a run of the items only."""
    counted, whole = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
    counted[start : start + len(right)] = True
    whole[start : start + len(right)] = right
    return Measured(right=whole, counted=counted)


def test_shares_of_different_items_have_newcombes_published_interval():
    # 56 of 70 against 48 of 80: (0.0524, 0.3339), Newcombe 1998, method 10.
    found = difference(
        part(right(56, 14), start=0, total=150), part(right(48, 32), start=70, total=150)
    )
    assert found.value == pytest.approx(0.2)
    assert interval(found) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.n == 70


def test_the_other_way_round_is_the_mirrored_interval():
    one, other = everywhere(right(30, 20)), everywhere(right(10, 5, 25, 10))
    forth, back = difference(one, other), difference(other, one)
    assert interval(back) == pytest.approx((-forth.high, -forth.low))


def test_the_same_items_tell_more_than_others_of_the_same_number():
    better, worse = right(80, 20), right(70, 30)
    paired = difference(everywhere(better), everywhere(worse))
    apart = difference(part(better, start=0, total=200), part(worse, start=100, total=200))
    assert paired.value == pytest.approx(apart.value) == pytest.approx(0.1)
    assert paired.low > 0 > apart.low


def test_equal_answers_differ_by_nothing_and_not_for_certain():
    found = difference(everywhere(right(15, 5)), everywhere(right(15, 5)))
    assert found.low < found.value == 0.0 < found.high


def test_opposite_answers_widen_the_interval():
    one = right(50, 50)
    assert interval(difference(everywhere(one), everywhere(~one)))[0] < -0.13
    assert interval(difference(everywhere(one), everywhere(right(25, 25, 25, 25))))[0] > -0.14


def test_a_difference_to_nothing_is_unknown():
    nothing = Measured(right=right(3, 3), counted=np.zeros(6, dtype=bool))
    found = difference(everywhere(right(3, 3)), nothing)
    assert isnan(found.value)
    assert isnan(found.low)
    assert found.n == 0


def test_lists_of_different_items_are_refused():
    with pytest.raises(ValueError, match="3 items beside 4"):
        difference(everywhere(right(3)), everywhere(right(4)))


def test_a_share_has_its_wilson_interval():
    found, same = share(everywhere(right(8, 2))), accuracy_of(right(8, 2))
    assert (found.value, found.low, found.high, found.n) == (
        same.value,
        same.low,
        same.high,
        same.n,
    )


def test_the_least_of_several_is_the_weakest_in_every_respect():
    large, small = everywhere(right(95, 5)), everywhere(right(90, 10))
    other = part(right(10, 5), start=0, total=100)
    found = [difference(large, small), difference(large, other)]
    assert least(found).value == min(each.value for each in found)
    assert least(found).low == min(each.low for each in found)
    assert least(found).n == 15
    unknown = difference(large, Measured(right=large.right, counted=np.zeros(100, dtype=bool)))
    assert isnan(least([*found, unknown]).low)


def test_the_order_of_the_items_changes_no_digit():
    rng = np.random.default_rng(3)
    facts = rng.random((4, 700)) < np.array([[0.8], [0.7], [0.9], [0.8]])
    found = set()
    for _ in range(20):
        one, other, counted, also_counted = facts[:, rng.permutation(700)]
        found.add(
            difference(
                Measured(right=one, counted=counted), Measured(right=other, counted=also_counted)
            )
        )
    assert len(found) == 1


@pytest.mark.parametrize("shared", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("both_count", [1.0, 0.5])
def test_nineteen_of_twenty_intervals_hold_the_true_difference(shared, both_count):
    rng = np.random.default_rng(7)
    num_items, num_trials, truth = 150, 1500, 0.15
    hit = 0
    for _ in range(num_trials):
        luck = rng.random(num_items)
        own = np.where(rng.random(num_items) < shared, luck, rng.random(num_items))
        found = difference(
            Measured(right=luck < 0.85, counted=rng.random(num_items) < both_count),
            Measured(right=own < 0.70, counted=rng.random(num_items) < both_count),
        )
        hit += found.low <= truth <= found.high
    assert 0.935 <= hit / num_trials <= 0.985


def test_shares_known_by_their_counts_alone_differ_as_those_of_different_items_do():
    one, other = right(60, 40), right(90, 110)
    found = apart(accuracy_of(one), accuracy_of(other))
    beside = difference(part(one, start=0, total=300), part(other, start=100, total=300))
    assert interval(found) == pytest.approx(interval(beside))
    wide = apart(accuracy_of(one), accuracy_of(other), z=2.6)
    assert wide.low < found.low < found.value < found.high < wide.high
    assert isnan(apart(accuracy_of(one), accuracy_of(right())).value)
