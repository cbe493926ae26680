"""Who is asked, and what people's verdicts make of a pair."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.verification.people import (
    CONSENSUS_COLUMNS,
    LEDGER_COLUMNS,
    accuracy_by,
    choose_for_people,
    consensus,
    mark_risk,
    pick_seed,
    prioritise,
)
from synpref_dagster.pairs.record import id_index


def an_id(number, kind=b"p"):
    return kind + number.to_bytes(13, "big") + b"\x00\x00"


def candidates(*rows):
    """Rows of (category, objectivity, controversiality, risky), one pair each."""
    frame = pd.DataFrame(
        rows, columns=["task_category", "objectivity", "controversiality", "risky"]
    )
    numbers = range(len(rows))
    return frame.assign(
        pair_id=id_index(an_id(n) for n in numbers),
        content_id=id_index(an_id(n, b"c") for n in numbers),
        conversation_id=id_index(an_id(n, b"x") for n in numbers),
    )


def numbers_of(pair_ids):
    return [int.from_bytes(each[1:14], "big") for each in pair_ids]


MIXED = candidates(
    ("math", "subjective", "low", False),
    ("math", "objective", "high", False),
    ("math", "objective", "low", False),
    ("math", "subjective", "high", True),
    ("math", "objective", "medium", False),
)


def test_risky_then_objective_then_uncontroversial_pairs_come_first():
    chosen = prioritise(MIXED, num_pairs=5, seed=0)
    assert numbers_of(chosen["pair_id"]) == [3, 2, 4, 1, 0]
    assert list(chosen.columns) == list(MIXED.columns)


@pytest.mark.parametrize(
    ("max_risky", "order"), [(None, [0, 2, 1, 3, 4]), (1, [0, 1, 3, 2, 4]), (0, [1, 3, 0, 2, 4])]
)
def test_risky_pairs_beyond_the_bound_take_their_place_by_objectivity(max_risky, order):
    pool = candidates(
        ("math", "subjective", "low", True),
        ("math", "objective", "low", False),
        ("math", "subjective", "medium", True),
        ("math", "objective", "medium", False),
        ("math", "subjective", "high", False),
    )
    chosen = numbers_of(prioritise(pool, num_pairs=5, seed=0, max_risky=max_risky)["pair_id"])
    assert chosen == order


def test_the_bound_on_risky_pairs_is_shared_by_the_categories():
    rows = [(c, "subjective", "low", True) for c in ["math"] * 20 + ["editing"] * 10]
    rows += [(c, "objective", "low", False) for c in ["math"] * 20 + ["editing"] * 10]
    chosen = prioritise(candidates(*rows), num_pairs=60, seed=0, max_risky=9)
    for category, bound in {"math": 6, "editing": 3}.items():
        risky = chosen[chosen["task_category"] == category]["risky"].tolist()
        assert risky[: bound + 1] == [True] * bound + [False]


def test_equals_are_shuffled_by_the_seed_alone():
    pool = candidates(*[("math", "objective", "low", False)] * 30)
    one, again, other = (prioritise(pool, num_pairs=10, seed=s)["pair_id"] for s in (1, 1, 2))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


def test_categories_are_seen_in_proportion_to_their_size():
    rows = [
        (c, "objective", "low", False) for c in ["math"] * 60 + ["editing"] * 30 + ["other"] * 10
    ]
    chosen = prioritise(candidates(*rows), num_pairs=20, seed=0)
    assert chosen["task_category"].value_counts().to_dict() == {
        "math": 12,
        "editing": 6,
        "other": 2,
    }


def test_a_category_of_one_pair_is_seen_even_in_a_small_batch():
    rows = [("math", "objective", "low", False)] * 500 + [("other", "subjective", "high", False)]
    chosen = prioritise(candidates(*rows), num_pairs=5, seed=0)
    assert chosen["task_category"].value_counts().to_dict() == {"math": 4, "other": 1}


def test_a_smaller_pool_than_asked_for_gives_all_of_it():
    assert len(prioritise(MIXED, num_pairs=100, seed=0)) == 5
    assert len(prioritise(MIXED.iloc[:0], num_pairs=3, seed=0)) == 0


def test_a_pair_without_a_category_is_not_lost():
    unknown = MIXED.assign(task_category=["math", None, "math", None, "math"])
    assert sorted(numbers_of(prioritise(unknown, num_pairs=5, seed=0)["pair_id"])) == [
        0,
        1,
        2,
        3,
        4,
    ]


POOL = candidates(
    *[
        (
            ("math", "planning", "other")[n % 3],
            ("objective", "subjective")[n % 2],
            "low",
            n % 7 == 0,
        )
        for n in range(60)
    ]
)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_the_seed_has_exactly_the_sizes_asked_for_people_first(num_gold, num_silver, seed):
    picked = pick_seed(POOL, num_gold=num_gold, num_silver=num_silver, seed=seed)
    people, judges = ((picked["asked"] == who).sum() for who in ("people", "judges"))
    assert people == min(num_gold, 60)
    assert judges == min(num_silver, 60 - people)
    assert picked["content_id"].is_unique


def test_silver_covers_all_categories_in_proportion():
    picked = pick_seed(POOL, num_gold=0, num_silver=30, seed=0)
    assert picked["task_category"].value_counts().to_dict() == {
        "math": 10,
        "planning": 10,
        "other": 10,
    }


def test_an_empty_pool_gives_an_empty_seed():
    assert len(pick_seed(POOL.iloc[:0], num_gold=3, num_silver=3, seed=0)) == 0


def test_contradictory_twins_are_asked_once():
    twins = pd.concat([POOL, POOL.assign(pair_id=id_index(an_id(n, b"q") for n in range(60)))])
    picked = pick_seed(twins, num_gold=50, num_silver=50, seed=0)
    assert len(picked) == 60
    assert picked["content_id"].is_unique


def ledger(**verdicts):
    """Verdicts by pair: + for, - against, 0 tie, ? could not decide."""
    signs = {"+": 1, "-": -1, "0": 0, "?": 0}
    rows = [
        (an_id(n), an_id(n, b"c"), f"person-{i}", signs[mark], mark != "?")
        for n, marks in enumerate(verdicts.values())
        for i, mark in enumerate(marks)
    ]
    return pd.DataFrame(rows, columns=LEDGER_COLUMNS)


@pytest.mark.parametrize(
    ("marks", "label", "reason"),
    [
        ("+", 1, "decided"),
        ("-", -1, "decided"),
        ("0", 0, "tied"),
        ("?", 0, "undecidable"),
        ("++-", 1, "decided"),
        ("+--", -1, "decided"),
        ("+-", 0, "tied"),
        ("+-0", 0, "tied"),
        ("++0", 1, "decided"),
        ("++?", 1, "decided"),
        ("+00", 0, "no_majority"),
        ("+0", 0, "no_majority"),
        ("+?", 0, "no_majority"),
        ("+??", 0, "undecidable"),
        ("++??", 0, "no_majority"),
        ("+++??", 1, "decided"),
        ("++---", -1, "decided"),
    ],
)
def test_people_decide_by_strict_majority_of_all_who_were_asked(marks, label, reason):
    [row] = consensus(ledger(pair=marks)).to_dict("records")
    assert (row["label"], row["reason"]) == (label, reason)
    assert (row["num_for"], row["num_against"]) == (marks.count("+"), marks.count("-"))
    assert row["num_verdicts"] == len(marks)


@given(st.text("+-0?", min_size=1, max_size=7))
def test_swapping_sides_swaps_the_label_and_no_order_matters(marks):
    swapped = marks.translate(str.maketrans("+-", "-+"))
    [one, other, backwards] = (
        consensus(ledger(pair=m)).iloc[0] for m in (marks, swapped, marks[::-1])
    )
    assert (one["label"], one["reason"]) == (-other["label"], other["reason"])
    assert (one["label"], one["reason"]) == (backwards["label"], backwards["reason"])


def test_pairs_keep_the_order_of_the_ledger():
    result = consensus(ledger(a="+", b="--", c="0"))
    assert list(result.columns) == CONSENSUS_COLUMNS
    assert numbers_of(result["pair_id"]) == [0, 1, 2]
    assert result["label"].tolist() == [1, -1, 0]
    assert result["label"].dtype == np.int8


def test_who_changes_their_mind_is_counted_once_with_the_last_verdict():
    rows = ledger(a="+-")
    rows["annotator"] = "person-0"
    [row] = consensus(rows).to_dict("records")
    assert (row["label"], row["num_verdicts"]) == (-1, 1)


def test_an_empty_ledger_gives_an_empty_consensus():
    empty = consensus(ledger())
    assert list(empty.columns) == CONSENSUS_COLUMNS
    assert len(empty) == 0


def panel(*rows):
    """(number, label, confidence) of judge labels."""
    return pd.DataFrame(
        {
            "pair_id": id_index(an_id(n) for n, _, _ in rows),
            "label": np.array([label for _, label, _ in rows], dtype=np.int8),
            "confidence": np.array([c for _, _, c in rows], dtype=np.float32),
        }
    )


def test_the_papers_policy_takes_objective_pairs_and_needs_no_judge():
    chosen = choose_for_people(MIXED, None, policy="objective_first", num_pairs=3, seed=0)
    assert numbers_of(chosen) == [3, 2, 4]


def test_judge_disagreement_takes_the_pairs_the_panel_is_least_sure_of():
    labels = panel((0, 1, 0.9), (1, -1, 0.2), (2, 1, 0.5), (3, 0, 0.8), (4, -1, 1.0))
    chosen = choose_for_people(MIXED, labels, policy="judge_disagreement", num_pairs=3, seed=0)
    # Pair 3 has no label: its votes tied, however strong they were.
    assert numbers_of(chosen) == [3, 1, 2]


def test_judge_disagreement_asks_first_about_pairs_that_no_judge_labelled():
    labels = panel((0, 1, 0.9), (1, -1, 0.2), (2, 0, 0.0), (99, 1, 0.0))
    chosen = choose_for_people(MIXED, labels, policy="judge_disagreement", num_pairs=4, seed=0)
    assert set(numbers_of(chosen)[:2]) == {3, 4}
    assert numbers_of(chosen)[2:] == [2, 1]


@pytest.mark.parametrize("policy", ["objective_first", "judge_disagreement"])
def test_both_policies_repeat_with_the_seed_and_never_ask_twice(policy):
    labels = panel(*((n, 1, 0.5) for n in range(60)))
    one, again, other = (
        choose_for_people(POOL, labels, policy=policy, num_pairs=20, seed=s).tolist()
        for s in (1, 1, 2)
    )
    assert one == again
    assert one != other
    assert len(set(one)) == 20


def test_a_policy_must_be_known_and_have_what_it_needs():
    with pytest.raises(ValueError, match="human policy is 'random'"):
        choose_for_people(MIXED, None, policy="random", num_pairs=1, seed=0)
    with pytest.raises(ValueError, match="needs the panel's labels"):
        choose_for_people(MIXED, None, policy="judge_disagreement", num_pairs=1, seed=0)


def test_accuracy_by_attribute_counts_ties_as_wrong():
    scored = pd.DataFrame({"margin": [1.0, -1.0, 0.0, 2.0], "kind": ["a", "a", "b", "b"]})
    assert accuracy_by(scored, "kind") == {"a": 0.5, "b": 0.5}


def test_contradictory_pairs_and_low_margins_are_marked_with_the_reason():
    pairs = pd.DataFrame({"pair_id": id_index(map(an_id, range(4))), "risky": [True, False] * 2})
    margins = np.array([3.0, 3.0, 0.1, -0.1])  # p: .95, .95, .525, .475
    marked = mark_risk(pairs, margins, low_margin=0.05)
    assert marked["risk"].tolist() == [
        "contradictory",
        "",
        "contradictory, low_margin",
        "low_margin",
    ]
    assert marked["risky"].tolist() == [True, False, True, True]
    assert mark_risk(pairs)["risk"].tolist() == ["contradictory", ""] * 2
    assert mark_risk(pairs, margins, low_margin=0.0)["risk"].tolist() == ["contradictory", ""] * 2


def test_risky_pairs_of_an_iteration_come_before_others_of_their_category():
    pairs = POOL[POOL["task_category"] == POOL["task_category"].iloc[0]].assign(risky=False)
    margins = np.where(np.arange(len(pairs)) == 5, 0.0, 4.0)
    marked = mark_risk(pairs, margins, low_margin=0.05)
    first = choose_for_people(marked, None, policy="objective_first", num_pairs=1, seed=0)
    assert numbers_of(first) == numbers_of(pairs["pair_id"].iloc[[5]])


def test_the_seed_says_which_of_its_pairs_are_risky():
    picked = pick_seed(POOL, num_gold=10, num_silver=10, seed=0)
    risky = dict(zip(POOL["pair_id"], POOL["risky"], strict=True))
    assert [bool(text) for text in picked["risk"]] == [risky[i] for i in picked["pair_id"]]
    assert set(picked["risk"]) == {"", "contradictory"}


def test_people_are_asked_about_what_they_can_answer_for_and_judges_about_the_rest():
    can = set(POOL["content_id"][::3])
    picked = pick_seed(POOL, num_gold=len(POOL), num_silver=len(POOL), seed=0, answerable=can)
    by_asked = {name: set(part["content_id"]) for name, part in picked.groupby("asked")}
    assert by_asked["people"] == can
    assert by_asked["judges"] == set(POOL["content_id"]) - can


@given(st.permutations(range(60)), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_the_seed_does_not_depend_on_the_order_of_the_pool(order, seed):
    picked = [
        pick_seed(pool, num_gold=9, num_silver=11, seed=seed) for pool in (POOL, POOL.iloc[order])
    ]
    assert picked[0].equals(picked[1])
