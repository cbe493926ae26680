"""Each id once over many shards: the first row stays, and every shard keeps its place."""

import pandas as pd
import pyarrow as pa
from hypothesis import given, strategies as st

from synpref_dagster.pairs.ids import (
    first_of_each,
    in_id_order,
    repeated_keys,
    rows_by_content,
    rows_in_id_order,
)
from synpref_dagster.pairs.record import PreferencePair, id_array


def an_id(number):
    """Ids that differ in their last eight bytes alone, some of which end in zeros."""
    return b"p" + number.to_bytes(13, "big") + b"\x00\x00"


def shard(*rows):
    """(row, id) numbers."""
    ids = id_array([an_id(number) for _, number in rows])
    return pa.table({"row": pa.array([row for row, _ in rows], pa.int64()), "content_id": ids})


def once(*shards):
    repeated = repeated_keys(shards, "content_id")
    return [each["row"].to_pylist() for each in first_of_each(shards, repeated, "content_id")]


def test_of_rows_in_several_shards_the_first_stays_and_every_shard_keeps_its_place():
    shards = [shard((1, 1), (2, 2)), shard((3, 1)), shard(), shard((4, 4), (5, 2), (6, 1))]
    assert once(*shards) == [[1, 2], [], [], [4]]


def test_ids_that_share_their_first_word_only_both_stay():
    shards = [shard((1, 1)), shard((2, 2))]
    assert len(repeated_keys(shards, "content_id")) == 1
    assert once(*shards) == [[1], [2]]


def test_a_shard_that_arrives_changes_none_before_it():
    old = [shard((1, 1)), shard((2, 2))]
    assert once(*old, shard((3, 2), (4, 4))) == [*once(*old), [4]]


def test_no_rows_stay_no_rows():
    assert once(shard()) == [[]]
    assert once() == []


def pairs_of(numbers):
    return [
        PreferencePair(
            conversation=({"role": "user", "content": f"question {number}"},),
            chosen="yes",
            rejected="no",
            source="s",
            origin="human",
        )
        for number in numbers
    ]


TWENTY = pairs_of(range(20))


@given(st.permutations(TWENTY))
def test_pairs_in_id_order_are_the_same_whatever_order_they_come_in(shuffled):
    assert in_id_order(shuffled) == in_id_order(TWENTY)
    frame = pd.DataFrame(
        {"pair_id": [p.pair_id for p in shuffled], "content_id": [p.content_id for p in shuffled]},
        dtype=object,
    )
    assert list(rows_in_id_order(frame)["pair_id"]) == [p.pair_id for p in in_id_order(TWENTY)]


@given(st.sets(st.integers(0, 19)))
def test_a_turned_label_moves_no_pair(turned):
    mixed = [p.flipped() if n in turned else p for n, p in enumerate(TWENTY)]
    places = [pair.content_id for pair in in_id_order(mixed)]
    assert places == [pair.content_id for pair in in_id_order(TWENTY)]


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=2), st.binary(min_size=1, max_size=2))))
def test_numbers_put_contents_in_the_order_of_their_bytes_and_take_each_once(rows):
    # The differing bytes stand first and last in the ids: 0x80 and above, and zeros, among them.
    frame = pd.DataFrame(
        {
            "content_id": [a + b"m" * (16 - len(a)) for a, _ in rows],
            "pair_id": [b"m" * (16 - len(b)) + b for _, b in rows],
            "row": range(len(rows)),
        },
        columns=["content_id", "pair_id", "row"],
    )
    table = pa.table({name: id_array(list(frame[name])) for name in ("content_id", "pair_id")})
    by_bytes = rows_in_id_order(frame).drop_duplicates("content_id")
    assert rows_by_content(table).tolist() == by_bytes["row"].tolist()
