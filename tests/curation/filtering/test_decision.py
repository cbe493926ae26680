"""The consistency filter: an exact partition with reasons, and a guard before every flip."""

from itertools import product
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.filtering.decision import (
    DISCARDED,
    FLIPPED,
    KEPT,
    REASONS,
    count_decisions,
    decide,
    flip_precision_of_rules,
)
from synpref_dagster.curation.filtering.flip_guard import (
    FlipGuard,
    GuardConfig,
    estimate_flip_guard,
)
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import Accuracy, wilson_interval

OPEN = FlipGuard(max_confidence=0.5, precision=Accuracy(0.9, 0.8, 0.95, 100), floor=0.6)
SHUT = FlipGuard(max_confidence=0.0, precision=Accuracy(0.5, 0.4, 0.6, 100), floor=0.6)
MARGINS = (-2.0, 0.0, 2.0, nan)
LABELS = (-1, 0, 1)
UNSEEN = None
TABLE = list(product(MARGINS, MARGINS, LABELS, (UNSEEN, -1, 0, 1)))


def witnesses_of(rows):
    """(gold margin, best margin, judge label, human label or None for unseen) per pair."""
    return Witnesses(
        gold_margin=np.array([gold for gold, _, _, _ in rows], dtype=np.float32),
        best_margin=np.array([best for _, best, _, _ in rows], dtype=np.float32),
        judge_label=np.array([judges for _, _, judges, _ in rows], dtype=np.int8),
        human_label=np.array([human or 0 for _, _, _, human in rows], dtype=np.int8),
        human_seen=np.array([human is not UNSEEN for _, _, _, human in rows], dtype=bool),
    )


def decision_by_law(gold, best, judges, human, *, flips_pass):
    """Design section 3, word by word."""
    if human is not UNSEEN:  # a human verdict decides
        return {1: KEPT, -1: FLIPPED, 0: DISCARDED}[human]
    if gold > 0 and (best > 0 or judges > 0):  # gold RM and at least one of best RM, judges
        return KEPT
    if gold < 0 and best < 0 and judges < 0 and flips_pass:  # all disagree, and the guard
        return FLIPPED
    return DISCARDED


@pytest.mark.parametrize("guard", [OPEN, SHUT], ids=["open", "shut"])
def test_the_whole_decision_table_is_the_law(guard):
    decision, reason = decide(witnesses_of(TABLE), guard=guard)
    for row, decided, because in zip(TABLE, decision, reason, strict=True):
        expected = decision_by_law(*row, flips_pass=guard is OPEN)
        assert decided == expected, (row, because)
        assert REASONS[because] == decided


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((2, 2, 1, -1), "human_disagrees"),
        ((-2, -2, -1, 1), "human_agrees"),
        ((2, 2, 1, 0), "human_undecided"),
        ((nan, nan, 0, 1), "human_agrees"),
        ((2, 2, 1, UNSEEN), "all_agree"),
        ((2, 2, 0, UNSEEN), "gold_and_best_agree"),
        ((2, 2, -1, UNSEEN), "gold_and_best_agree"),
        ((2, -2, 1, UNSEEN), "gold_and_judges_agree"),
        ((2, 0, 1, UNSEEN), "gold_and_judges_agree"),
        ((2, nan, 1, UNSEEN), "gold_and_judges_agree"),
        ((2, nan, 0, UNSEEN), "missing_reward"),
        ((nan, 2, 1, UNSEEN), "missing_reward"),
        ((nan, 0, 1, UNSEEN), "missing_reward"),
        ((0, 2, 1, UNSEEN), "reward_tie"),
        ((2, 0, -1, UNSEEN), "reward_tie"),
        ((-2, 0, -1, UNSEEN), "reward_tie"),
        ((-2, -2, -1, UNSEEN), "all_disagree"),
        ((2, -2, 0, UNSEEN), "judges_undecided"),
        ((-2, -2, 0, UNSEEN), "judges_undecided"),
        ((2, -2, -1, UNSEEN), "split_evidence"),
        ((-2, 2, 1, UNSEEN), "split_evidence"),
        ((-2, 2, 0, UNSEEN), "split_evidence"),
        ((-2, -2, 1, UNSEEN), "split_evidence"),
        ((-2, 2, -1, UNSEEN), "split_evidence"),
    ],
)
def test_every_reason_says_what_happened(row, reason):
    assert decide(witnesses_of([row]), guard=OPEN)[1].tolist() == [reason]


def test_every_reason_but_the_special_ones_occurs():
    occurring = set(decide(witnesses_of(TABLE), guard=OPEN)[1])
    assert set(REASONS) - occurring == {"recycled_all", "flip_guarded"}


def test_only_machine_flips_need_the_guard():
    rows = [(-2, -2, -1, UNSEEN), (-2, -2, -1, -1)]
    decision, reason = decide(witnesses_of(rows), guard=SHUT)
    assert reason.tolist() == ["flip_guarded", "human_disagrees"]
    assert decision.tolist() == [DISCARDED, FLIPPED]


def test_a_flip_needs_both_models_to_be_as_sure_as_the_guard_asks():
    guard = FlipGuard(max_confidence=0.2, precision=OPEN.precision, floor=0.6)
    sure, unsure = -2.0, -1.0  # p = 0.12 and 0.27
    rows = [(g, b, -1, UNSEEN) for g in (sure, unsure) for b in (sure, unsure)]
    assert decide(witnesses_of(rows), guard=guard)[1].tolist() == [
        "all_disagree",
        "flip_guarded",
        "flip_guarded",
        "flip_guarded",
    ]


def test_recycling_none_flips_only_what_people_flipped():
    _, reason = decide(witnesses_of(TABLE), guard=OPEN, recycle="none")
    flipped = [r for r in reason if REASONS[r] == FLIPPED]
    assert set(flipped) == {"human_disagrees"}


def test_recycling_all_flips_whatever_strict_discards_but_what_people_could_not_decide():
    strict, strict_reason = decide(witnesses_of(TABLE), guard=SHUT)
    swept, swept_reason = decide(witnesses_of(TABLE), guard=SHUT, recycle="all")
    changed = strict != swept
    assert set(swept_reason[changed]) == {"recycled_all"}
    assert set(strict[changed]) == {DISCARDED}
    assert set(swept[changed]) == {FLIPPED}
    assert set(swept_reason[swept == DISCARDED]) == {"human_undecided"}
    assert set(strict_reason[~changed]) <= set(REASONS)


def test_decisions_are_counted_also_by_source():
    decided = pd.DataFrame(
        {
            "source": ["a", "a", "b"],
            "decision": [KEPT, KEPT, DISCARDED],
            "reason": ["all_agree", "all_agree", "reward_tie"],
        }
    )
    rows = count_decisions(decided, ["source"]).to_dict("records")
    assert [(r["source"], r["reason"], r["num_pairs"]) for r in rows] == [
        ("a", "all_agree", 2),
        ("b", "reward_tie", 1),
    ]


def test_an_empty_pool_is_decided():
    decision, reason = decide(witnesses_of([]), guard=OPEN)
    assert len(decision) == len(reason) == 0


def test_an_unknown_recycling_is_refused():
    with pytest.raises(ValueError, match="recycle is 'some'"):
        decide(witnesses_of(TABLE), guard=OPEN, recycle="some")


def flips_on_gold(*groups):
    """(number of pairs, number of right flips, margin of both models), all three disagreeing."""
    rows = [
        (margin, margin, -1, -1 if i < num_right else 1)
        for num, num_right, margin in groups
        for i in range(num)
    ]
    return witnesses_of(rows)


def test_the_guard_opens_wide_where_flips_are_right():
    guard = estimate_flip_guard(flips_on_gold((50, 48, -0.1)), config=GuardConfig(floor=0.6))
    assert guard.max_confidence == 0.5
    assert (guard.precision.value, guard.precision.n) == (0.96, 50)
    assert guard.precision.low == wilson_interval(48, 50)[0] > 0.6


def test_the_guard_takes_the_loosest_threshold_that_passes():
    # p = 0.475: half of them wrong; p = 0.27: nearly all right; p = 0.05: all right.
    evidence = flips_on_gold((60, 10, -0.1), (40, 38, -1.0), (40, 40, -3.0))
    guard = estimate_flip_guard(evidence, config=GuardConfig(floor=0.8))
    assert guard.max_confidence == 0.4
    assert (guard.precision.value, guard.precision.n) == (78 / 80, 80)


def test_the_guard_stays_shut_where_flips_are_wrong_and_says_how_wrong():
    guard = estimate_flip_guard(flips_on_gold((40, 18, -3.0)), config=GuardConfig(floor=0.6))
    assert guard.max_confidence == 0.0
    assert (guard.precision.value, guard.precision.n) == (18 / 40, 40)
    assert decide(witnesses_of([(-9, -9, -1, UNSEEN)]), guard=guard)[1][0] == "flip_guarded"


def test_the_guard_looks_at_the_lower_bound_not_at_the_share():
    guard = estimate_flip_guard(flips_on_gold((20, 14, -3.0)), config=GuardConfig(floor=0.6))
    assert guard.precision.value == 0.7
    assert guard.max_confidence == 0.0


def test_too_few_flips_are_no_evidence():
    config = GuardConfig(floor=0.5, min_flips=10)
    assert estimate_flip_guard(flips_on_gold((9, 9, -3.0)), config=config).max_confidence == 0.0
    assert estimate_flip_guard(flips_on_gold((10, 10, -3.0)), config=config).max_confidence == 0.5


def test_without_flips_on_gold_the_guard_is_shut_and_its_precision_unknown():
    guard = estimate_flip_guard(witnesses_of([(2, 2, 1, 1)] * 50), config=GuardConfig())
    assert guard.max_confidence == 0.0
    assert isnan(guard.precision.value)
    none = estimate_flip_guard(witnesses_of([]), config=GuardConfig())
    assert (none.max_confidence, none.precision.n) == (0.0, 0)


@given(st.lists(st.sampled_from([row for row in TABLE if row[3] in (-1, 1)]), max_size=60))
@settings(max_examples=60, deadline=None)
def test_whatever_passes_the_guard_is_as_precise_on_gold_as_it_claims(rows):
    evidence = witnesses_of(rows)
    guard = estimate_flip_guard(evidence, config=GuardConfig(floor=0.5, min_flips=3))
    unseen = witnesses_of([(*row[:3], UNSEEN) for row in rows])
    decision, _ = decide(unseen, guard=guard)
    flipped = decision == FLIPPED
    if guard.max_confidence > 0:
        assert flipped.sum() == guard.precision.n
        assert (evidence.human_label[flipped] < 0).mean() == guard.precision.value
    else:
        assert not flipped.any()


def test_a_floor_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match=r"floor is 1\.5"):
        GuardConfig(floor=1.5)


def test_precision_of_each_rule_by_hand():
    rows = [
        (2, 2, 1, 1),
        (2, -2, 1, 1),
        (2, -2, -1, -1),
        (-2, -2, -1, -1),
        (-2, -2, -1, 1),
        (-2, 2, 0, -1),
        (nan, 2, 1, 1),
    ]
    found = flip_precision_of_rules(witnesses_of(rows))
    shares = {
        rule: (parts[KEPT].value, parts[KEPT].n, parts[FLIPPED].value, parts[FLIPPED].n)
        for rule, parts in found.items()
    }
    assert shares == {
        "best_rm": (2 / 3, 3, 2 / 4, 4),
        "gold_rm": (2 / 3, 3, 2 / 3, 3),
        "judges": (3 / 3, 3, 2 / 3, 3),
        "consistency": (2 / 2, 2, 1 / 2, 2),
    }
