"""What a model trains on: each content once, the best source of its label, validation never."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.release.training_sets import (
    TRAINING_COLUMNS,
    decided_labels,
    final_training_set,
    merge_labels,
    of_equal_size,
    original_labels,
    training_variants,
)
from synpref_dagster.pairs.record import id_index
from synpref_dagster.settings.stages import TrainingSet


def an_id(number, kind=b"p"):
    return kind + number.to_bytes(13, "big") + b"\x00\x00"


def frame(rows):
    """(pair, content, conversation) numbers."""
    rows = list(rows)
    return pd.DataFrame(
        {
            "pair_id": id_index(an_id(p) for p, _, _ in rows),
            "content_id": id_index(an_id(c, b"c") for _, c, _ in rows),
            "conversation_id": id_index(an_id(x, b"x") for _, _, x in rows),
        }
    )


def labelled(*rows, split="train"):
    """(number, label), the number being pair, content and conversation."""
    label = np.array([label for _, label in rows], dtype=np.int8)
    return frame((n, n, n) for n, _ in rows).assign(label=label, split=split)


def decided(*rows):
    """(number, decision)."""
    return frame((n, n, n) for n, _ in rows).assign(decision=[d for _, d in rows])


def labels_of(training_set):
    numbers = [int.from_bytes(each[1:14], "big") for each in training_set["pair_id"]]
    return dict(zip(numbers, training_set["label"].tolist(), strict=True))


DECISIONS = decided((1, "kept"), (2, "flipped"), (3, "discarded"), (4, "kept"), (5, "kept"))
NOTHING = labelled()


def test_kept_pairs_train_as_they_are_and_flipped_ones_reversed():
    assert labels_of(decided_labels(DECISIONS, ["kept"])) == {1: 1, 4: 1, 5: 1}
    assert labels_of(decided_labels(DECISIONS, ["flipped"])) == {2: -1}


@pytest.mark.parametrize(("with_recycled", "more"), [(True, {2: -1}), (False, {})])
def test_only_the_model_with_recycled_pairs_sees_flips(with_recycled, more):
    found = final_training_set(
        DECISIONS, gold=NOTHING, silver=NOTHING, held_out=set(), with_recycled=with_recycled
    )
    assert list(found.columns) == TRAINING_COLUMNS
    assert labels_of(found) == {1: 1, 4: 1, 5: 1, **more}


def test_people_outrank_judges_and_judges_outrank_the_filter():
    found = final_training_set(
        DECISIONS,
        gold=labelled((4, -1)),
        silver=labelled((4, 1), (5, -1)),
        held_out=set(),
        with_recycled=False,
    )
    assert labels_of(found) == {4: -1, 5: -1, 1: 1}


def test_a_twin_counts_as_the_same_content():
    twin = frame([(40, 4, 4)]).assign(label=np.int8(1), split="train")
    found = final_training_set(
        DECISIONS, gold=twin, silver=NOTHING, held_out=set(), with_recycled=False
    )
    assert labels_of(found) == {40: 1, 1: 1, 5: 1}


def test_neither_validation_pairs_nor_their_conversations_are_trained_on():
    gold = pd.concat([labelled((7, 1)), labelled((8, 1), split="validation")])
    silver = frame([(9, 9, 8), (10, 10, 10)]).assign(label=np.int8(1))
    decisions = pd.concat(
        [DECISIONS, frame([(11, 11, 8), (8, 8, 8)]).assign(decision=["kept", "flipped"])]
    )
    found = final_training_set(
        decisions, gold=gold, silver=silver, held_out={an_id(8, b"x")}, with_recycled=True
    )
    assert labels_of(found) == {7: 1, 10: 1, 1: 1, 2: -1, 4: 1, 5: 1}


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1, -1])), max_size=8)),
    st.sets(st.integers(0, 9), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_the_first_part_that_has_a_label_wins(parts, held_out):
    merged = merge_labels(
        [labelled(*rows) for rows in parts] or [NOTHING],
        held_out={an_id(n, b"x") for n in held_out},
    )
    expected = {}
    for number, label in (row for rows in parts for row in rows):
        if number not in held_out:
            expected.setdefault(number, label)
    assert labels_of(merged) == expected
    assert merged["content_id"].is_unique


POOL = frame((n, n, n // 2) for n in range(40))


def test_original_labels_are_the_whole_pool_outside_validation():
    found = original_labels(POOL, held_out={an_id(0, b"x")})
    assert labels_of(found) == dict.fromkeys(range(2, 40), 1)


def test_a_sample_of_the_original_labels_has_its_size_and_repeats_with_the_seed():
    one, again, other = (
        original_labels(POOL, held_out={an_id(0, b"x")}, num_pairs=10, seed=s) for s in (1, 1, 2)
    )
    assert len(one) == len(other) == 10
    assert one.equals(again)
    assert not one.equals(other)
    assert not {0, 1} & set(labels_of(one))
    assert len(original_labels(POOL, held_out=set(), num_pairs=100)) == 40


def test_the_variants_differ_in_labels_and_size_but_never_train_on_validation():
    decisions = POOL.assign(decision=(["kept"] * 5 + ["flipped"] * 3 + ["discarded"] * 2) * 4)
    gold = pd.concat([labelled((100, 1)), labelled((0, 1), split="validation")])
    silver = labelled((200, -1))
    sets = training_variants(POOL, decisions, gold=gold, silver=silver, seed=0, right={})
    sizes = {name: len(labels) for name, labels in sets.items()}
    assert sizes == {
        "original": 38,
        "original_equal_size": 18,
        "filtered": 18,
        "filtered_corrected": 30,
        "gold_silver": 2,
        "final": 32,
    }
    for labels in sets.values():
        assert not {0, 1} & set(labels_of(labels))
    assert set(sets["filtered"]["label"]) == {1}
    assert (sets["filtered_corrected"]["label"] == -1).sum() == 12
    assert labels_of(sets["gold_silver"]) == {100: 1, 200: -1}


def test_the_truth_trains_where_it_is_known_under_the_right_label():
    pool = frame((n, n, n) for n in range(4))
    right = {an_id(0): 1, an_id(1): -1, an_id(3): 1}
    sets = training_variants(
        pool,
        pool.assign(decision="kept"),
        gold=labelled((0, 1), split="validation"),
        silver=NOTHING,
        seed=0,
        right=right,
    )
    assert labels_of(sets["truth"]) == {1: -1, 3: 1}


def test_the_sample_of_original_labels_does_not_depend_on_the_order_of_the_pool():
    pool = frame((n, n, n) for n in range(40))
    samples = [
        original_labels(each, held_out=set(), num_pairs=7, seed=3) for each in (pool, pool[::-1])
    ]
    assert samples[0].equals(samples[1])


SETS = {
    "original": labelled(*((n, 1) for n in range(40))),
    "truth": labelled(*((n, 1 if n % 3 else -1) for n in range(40))),
    "final": labelled(*((n, 1) for n in range(0, 40, 2))),
}


def test_sets_of_equal_size_share_the_pairs_that_they_can():
    drawn = {name: labels_of(each) for name, each in of_equal_size(SETS, num_pairs=10).items()}
    assert {name: len(each) for name, each in drawn.items()} == dict.fromkeys(SETS, 10)
    assert drawn["original"].keys() == drawn["truth"].keys()
    assert drawn["truth"] == {n: 1 if n % 3 else -1 for n in drawn["original"]}
    even = {n for n in drawn["original"] if n % 2 == 0}
    assert even <= drawn["final"].keys()


def test_the_smallest_set_decides_and_the_seed_draws():
    assert {len(each) for each in of_equal_size(SETS, num_pairs=30).values()} == {20}
    one, again, other = (
        labels_of(of_equal_size(SETS, num_pairs=10, seed=seed)["original"]) for seed in (1, 1, 2)
    )
    assert one == again
    assert one.keys() != other.keys()


def test_sets_are_left_as_they_are_without_a_size_and_those_nobody_knows_are_left_out():
    found = of_equal_size({"original": SETS["original"]}, names=["truth", "original"])
    assert list(found) == ["original"]
    assert found["original"] is SETS["original"]
    assert of_equal_size({}, num_pairs=3) == {}


def test_the_settings_know_every_training_set_by_its_name():
    nothing = {"gold": NOTHING, "silver": NOTHING}
    sets = training_variants(frame([(1, 1, 1)]), DECISIONS, **nothing, seed=0, right={an_id(1): 1})
    assert tuple(sets) == get_args(TrainingSet)
