"""What each source brings, counted on pairs that fit on a page."""

from itertools import permutations

import pytest

from synpref_dagster.curation.pool.by_source import PoolKeys, SourceRow, by_source
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table

ASKED = ({"role": "user", "content": "Which?"},)


def pair(chosen, rejected, source):
    return PreferencePair(
        conversation=ASKED, chosen=chosen, rejected=rejected, source=source, origin="human"
    )


def read(source, num_rows, num_quarantined=0, num_outside=0, num_unfolded=0):
    return {
        "source": source, "num_rows": num_rows, "num_unfolded": num_unfolded,
        "num_quarantined": num_quarantined, "num_outside": num_outside,
    }  # fmt: skip


PAIRS = [
    pair("long answer", "short", "a"),
    pair("long answer", "short", "a"),  # said twice
    pair("long answer", "short", "b"),  # and by b
    pair("yes", "no", "a"),
    pair("no", "yes", "a"),  # a contradicts itself
    pair("tea", "ox", "a"),
    pair("ox", "tea", "b"),  # b contradicts a
    pair("one", "two", "b"),  # equally long
]
COUNTS = [read("a", 4), read("a", 4, num_quarantined=2, num_outside=1), read("b", 3)]


def test_each_source_is_counted_within_and_against_the_others():
    a, b = by_source([pairs_to_table(PAIRS[:3]), pairs_to_table(PAIRS[3:])], COUNTS)
    assert a == SourceRow(
        source="a", num_rows=8, num_unfolded=0, num_pairs=5, num_quarantined=2, num_outside=1,
        num_repeated=1, num_elsewhere=1, num_contradictory=1, num_contradicted=1,
        num_unequal=5, num_longer=4,
    )  # fmt: skip
    assert b == SourceRow(
        source="b", num_rows=3, num_unfolded=0, num_pairs=3, num_quarantined=0, num_outside=0,
        num_repeated=0, num_elsewhere=1, num_contradictory=0, num_contradicted=1,
        num_unequal=2, num_longer=1,
    )  # fmt: skip
    assert (a.longer_share, b.longer_share) == (0.8, 0.5)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_no_order_of_the_shards_changes_a_figure(order):
    shards = [pairs_to_table(PAIRS[start : start + 2]) for start in range(0, 8, 2)]
    expected = by_source(shards, COUNTS)
    assert by_source([shards[place] for place in order], reversed(COUNTS)) == expected


def test_a_source_with_both_labels_is_opposed_by_another_with_one():
    pairs = [pair("yes", "no", "a"), pair("no", "yes", "a"), pair("yes", "no", "b")]
    a, b = by_source([pairs_to_table(pairs)], [])
    assert (a.num_contradictory, a.num_contradicted) == (1, 1)
    assert (b.num_contradictory, b.num_contradicted) == (0, 1)


def test_a_source_without_a_pair_has_a_row_and_no_share():
    [empty] = by_source([], [read("empty", 3, num_quarantined=3)])
    assert (empty.num_rows, empty.num_pairs, empty.num_quarantined) == (3, 0, 3)
    assert empty.longer_share is None


def test_nothing_read_is_no_row():
    assert by_source([pairs_to_table([])], []) == []


def test_different_pairs_of_the_pool_are_counted_once():
    keys = PoolKeys()
    keys.add(pairs_to_table(PAIRS))
    assert keys.num_distinct == 6


def test_length_is_that_of_characters_and_not_of_bytes():
    [row] = by_source([pairs_to_table([pair("é", "ab", "a")])], [])
    assert (row.num_unequal, row.num_longer) == (1, 0)
