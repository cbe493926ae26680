"""The cumulative pools: nothing lost, nothing twice, people outrank judges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.verification.gold_silver import (
    DROPPED_GOLD_COLUMNS,
    GOLD_COLUMNS,
    SILVER_COLUMNS,
    extend_gold,
    extend_silver,
    first_gold,
    retrievable,
    silver_from_labels,
    split_by_conversation,
    undecidable_content,
    validation_conversations,
)
from synpref_dagster.pairs.record import id_index, table_from_frame
from synpref_dagster.storage import to_frame


def an_id(number, kind=b"p"):
    return kind + number.to_bytes(13, "big") + b"\x00\x00"


def numbers_of(ids):
    return [int.from_bytes(each[1:14], "big") for each in ids]


def pairs(*rows):
    """(pair, content, conversation) numbers; a single number stands for all three."""
    rows = [(row, row, row) if isinstance(row, int) else row for row in rows]
    return pd.DataFrame(
        {
            "pair_id": id_index(an_id(p) for p, _, _ in rows),
            "content_id": id_index(an_id(c, b"c") for _, c, _ in rows),
            "conversation_id": id_index(an_id(x, b"x") for _, _, x in rows),
        }
    )


def verdicts(**labels):
    """p3=1 says that people decided pair 3 for its label; a string is the reason of no label."""
    rows = [
        (
            an_id(int(name[1:])),
            0 if isinstance(said, str) else said,
            said if isinstance(said, str) else "decided",
        )
        for name, said in labels.items()
    ]
    frame = pd.DataFrame(rows, columns=["pair_id", "label", "reason"])
    return frame.astype({"label": "int8", "pair_id": object}).assign(edited_attributes="{}")


def panel(**labels):
    frame = verdicts(**labels).drop(columns="edited_attributes")
    reason = frame["reason"].replace("decided", "majority")
    return frame.assign(confidence=np.float32(0.5), reason=reason)


def gold_of(*rows, split="train"):
    label = np.ones(len(rows), dtype=np.int8)
    facts = {"label": label, "split": split, "iteration": np.int16(0), "edited_attributes": "{}"}
    return pairs(*rows).assign(**facts)[GOLD_COLUMNS]


def silver_of(*rows):
    label = np.ones(len(rows), dtype=np.int8)
    frame = pairs(*rows).assign(label=label, confidence=np.float32(1.0), iteration=np.int16(0))
    return frame[SILVER_COLUMNS]


NO_GOLD, NO_SILVER = gold_of(), silver_of()


def reasons_of(dropped):
    return dict(zip(numbers_of(dropped["pair_id"]), dropped["reason"], strict=True))


# --- splitting ------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_conversation_stays_on_its_side_when_rows_are_added(conversations, seed):
    ids = pd.Series([an_id(n, b"x") for n in range(51)], dtype=object)
    side = split_by_conversation(ids, validation_share=0.3, seed=seed)
    some = pd.Series([an_id(n, b"x") for n in conversations], dtype=object)
    again = split_by_conversation(some, validation_share=0.3, seed=seed)
    assert again.tolist() == [side[n] for n in conversations]


def test_the_validation_share_is_about_what_was_asked_for():
    ids = pd.Series([an_id(n, b"x") for n in range(4000)], dtype=object)
    for share in (0.1, 0.5):
        sides = split_by_conversation(ids, validation_share=share, seed=0)
        assert (sides == "validation").mean() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_refused(share):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        split_by_conversation(pd.Series([], dtype=object), validation_share=share, seed=0)


# --- gold -----------------------------------------------------------------------------------------


def first(asked, said):
    return first_gold(said, asked, validation_share=0.5, seed=0)


def test_the_gold_seed_is_what_people_decided_and_the_rest_is_dropped_with_its_reason():
    gold, dropped = first(pairs(1, 2, 3, 4), verdicts(p1=1, p2=-1, p3="tied"))
    assert list(gold.columns) == GOLD_COLUMNS
    assert list(dropped.columns) == DROPPED_GOLD_COLUMNS
    assert numbers_of(gold["pair_id"]) == [1, 2]
    assert gold["label"].tolist() == [1, -1]
    assert set(gold["iteration"]) == {0}
    assert reasons_of(dropped) == {3: "tied", 4: "no_verdict"}


def test_pairs_of_one_conversation_validate_together_or_train_together():
    asked = pairs(*((n, n, n // 4) for n in range(40)))
    gold, _ = first(asked, verdicts(**{f"p{n}": 1 for n in range(40)}))
    sides = gold.groupby("conversation_id")["split"].nunique()
    assert set(sides) == {1}
    assert set(gold["split"]) == {"train", "validation"}
    held_out = gold["conversation_id"][gold["split"] == "validation"]
    assert validation_conversations(gold) == set(held_out)


def test_the_gold_seed_holds_each_content_once():
    gold, dropped = first(pairs((1, 1, 1), (2, 1, 1)), verdicts(p1=1, p2=-1))
    assert numbers_of(gold["pair_id"]) == [1]
    assert reasons_of(dropped) == {2: "already_gold"}


def test_what_nobody_answered_is_not_undecidable():
    _, dropped = first(pairs(1, 2, 3, 4), verdicts(p1="tied", p2="undecidable", p3="no_majority"))
    assert numbers_of(sorted(undecidable_content(dropped))) == [1, 2, 3]


def test_new_gold_joins_the_training_part_and_old_gold_stays_as_it_was():
    old = gold_of(1, split="validation")
    gold, dropped = extend_gold(
        old, verdicts(p2=1, p3="undecidable"), pairs(1, 2, 3, 4), iteration=2
    )
    assert numbers_of(gold["pair_id"]) == [1, 2]
    assert gold["split"].tolist() == ["validation", "train"]
    assert gold["iteration"].tolist() == [0, 2]
    assert gold.dtypes.equals(old.dtypes)
    assert reasons_of(dropped) == {3: "undecidable"}


def test_a_twin_of_gold_does_not_enter_again():
    asked = pairs((2, 1, 1), (3, 3, 3), (4, 3, 3))
    gold, dropped = extend_gold(gold_of(1), verdicts(p2=1, p3=1, p4=1), asked, iteration=1)
    assert numbers_of(gold["pair_id"]) == [1, 3]
    assert reasons_of(dropped) == {2: "already_gold", 4: "already_gold"}


def test_a_verdict_about_a_validation_conversation_is_refused():
    with pytest.raises(ValueError, match="1 verdicts are about validation conversations"):
        extend_gold(gold_of(1, split="validation"), verdicts(p2=1), pairs((2, 2, 1)), iteration=1)


def test_a_verdict_about_an_unknown_pair_is_refused():
    with pytest.raises(ValueError, match="1 of 2 labelled pairs have no ids"):
        extend_gold(NO_GOLD, verdicts(p1=1, p2=1), pairs(1), iteration=1)


def test_no_verdicts_change_nothing():
    gold, dropped = extend_gold(gold_of(1), verdicts(), pairs(2), iteration=1)
    assert gold.equals(gold_of(1))
    assert len(dropped) == 0


# --- silver ---------------------------------------------------------------------------------------


def test_silver_is_what_the_panel_labelled_unless_people_or_validation_forbid_it():
    gold = pd.concat([gold_of(2), gold_of((50, 50, 4), split="validation")])
    silver, dropped = silver_from_labels(
        panel(p1=-1, p2=1, p3="votes_tied", p4=1, p5=1),
        pairs(1, (2, 2, 2), 3, (4, 4, 4), 5),
        gold=gold,
        iteration=3,
        undecidable={an_id(5, b"c")},
    )
    assert list(silver.columns) == SILVER_COLUMNS
    assert numbers_of(silver["pair_id"]) == [1]
    assert (silver["label"][0], silver["iteration"][0]) == (-1, 3)
    assert reasons_of(dropped) == {
        2: "already_gold",
        3: "votes_tied",
        4: "validation_conversation",
        5: "human_undecided",
    }


def test_of_twins_with_one_meaning_the_first_stays():
    asked = pairs((1, 1, 1), (2, 1, 1), 3)
    silver, dropped = silver_from_labels(panel(p1=1, p2=-1, p3=1), asked, gold=NO_GOLD, iteration=0)
    assert numbers_of(silver["pair_id"]) == [1, 3]
    assert reasons_of(dropped) == {2: "already_silver"}


@pytest.mark.parametrize("label", [1, -1])
def test_of_twins_that_the_panel_contradicts_itself_on_none_stays(label):
    asked = pairs((1, 1, 1), (2, 1, 1), 3)
    silver, dropped = silver_from_labels(
        panel(p1=label, p2=label, p3=1), asked, gold=NO_GOLD, iteration=0
    )
    assert numbers_of(silver["pair_id"]) == [3]
    assert reasons_of(dropped) == {1: "contradictory_labels", 2: "contradictory_labels"}


def test_what_people_verified_or_could_not_decide_leaves_silver():
    before = silver_of(1, 2, 3)
    silver, dropped = extend_silver(
        before,
        panel(p4=1, p5=1, p6=1),
        pairs(4, (5, 3, 3), (6, 2, 2)),
        gold=gold_of((11, 1, 1)),
        undecidable={an_id(2, b"c")},
        iteration=1,
    )
    assert numbers_of(silver["pair_id"]) == [3, 4]
    assert reasons_of(dropped) == {
        1: "became_gold",
        2: "human_undecided",
        5: "already_silver",
        6: "human_undecided",
    }
    assert silver["iteration"].tolist() == [0, 1]
    assert silver.dtypes.equals(before.dtypes)


def test_no_labels_keep_silver_as_it_was():
    silver, dropped = extend_silver(
        silver_of(1), panel(), pairs(), gold=NO_GOLD, undecidable=set(), iteration=1
    )
    assert silver.equals(silver_of(1))
    assert len(dropped) == 0


said = st.sampled_from([1, -1, "tied", "undecidable", "no_majority"])
judged = st.sampled_from([1, -1, "votes_tied", "all_abstained"])


@given(
    st.lists(st.integers(0, 14), max_size=6, unique=True),
    st.dictionaries(st.integers(15, 29), said, max_size=8),
    st.dictionaries(st.integers(15, 29), judged, max_size=10),
)
@settings(max_examples=60, deadline=None)
def test_every_verdict_and_every_label_is_accounted_for_once(known, by_people, by_judges):
    # Pairs n and n + 15 are twins; three contents share a conversation.
    pool = pairs(*((n, n % 15, n % 15 // 3) for n in range(30)))
    ids = {n: (n, n % 15, n % 15 // 3) for n in range(30)}
    before_gold = gold_of(*(ids[n] for n in known[::2]))
    before_silver = silver_of(*(ids[n] for n in known[1::2]))
    gold, gold_dropped = extend_gold(
        before_gold, verdicts(**{f"p{n}": v for n, v in by_people.items()}), pool, iteration=1
    )
    undecidable = undecidable_content(gold_dropped)
    silver, silver_dropped = extend_silver(
        before_silver,
        panel(**{f"p{n}": v for n, v in by_judges.items()}),
        pool,
        gold=gold,
        undecidable=undecidable,
        iteration=1,
    )
    assert len(gold) + len(gold_dropped) == len(before_gold) + len(by_people)
    assert len(silver) + len(silver_dropped) == len(before_silver) + len(by_judges)
    assert gold["content_id"].is_unique
    assert silver["content_id"].is_unique
    assert not set(gold["content_id"]) & set(silver["content_id"])
    assert not undecidable & set(silver["content_id"])
    assert (silver_dropped["reason"] != "").all()
    assert set(gold["label"]) | set(silver["label"]) <= {1, -1}


# --- what may still be pulled ---------------------------------------------------------------------


def test_only_fresh_content_outside_validation_can_be_pulled_and_each_once():
    pool = pairs(
        (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (5, 5, 5), (6, 6, 6), (7, 5, 5), (8, 8, 8)
    )
    free = retrievable(
        table_from_frame(pool),
        gold=pd.concat([gold_of((11, 1, 1)), gold_of((20, 20, 2), split="validation")]),
        silver=silver_of((13, 3, 3)),
        # People could not decide the twin of 4; nobody answered about 6.
        discarded=pd.DataFrame(
            {
                "pair_id": id_index([an_id(14), an_id(6)]),
                "content_id": id_index([an_id(4, b"c"), an_id(6, b"c")]),
                "reason": ["undecidable", "no_verdict"],
            }
        ),
    )
    assert numbers_of(to_frame(free)["pair_id"]) == [5, 6, 8]
