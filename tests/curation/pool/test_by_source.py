"""What each source brings, counted on pairs that fit on a page."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.curation.evidence.sources import as_report
from synpref_dagster.curation.pool.by_source import READ, PoolKeys, pool_rows
from synpref_dagster.pairs.record import PreferencePair

ASKED = ({"role": "user", "content": "Which?"},)


def pair(chosen, rejected, source):
    return PreferencePair(
        conversation=ASKED, chosen=chosen, rejected=rejected, source=source, origin="human"
    )


def keys_of(pairs, sources=("a", "b")):
    keys = PoolKeys()
    for source in sources:
        keys.begin(source)
    keys.add(pairs)
    return keys


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
BENCHMARK = pair("tea", "ox", "a")


def tallied(keys, contaminated=()):
    rows, shares = keys.cleaned(np.array(contaminated, dtype=np.uint64))
    counts = {(row.source, row.why): row.num_pairs for row in rows.itertuples()}
    return counts, {name: (each.value, each.n) for name, each in shares.items()}


def test_a_pair_is_clean_in_the_first_source_that_has_it_and_a_duplicate_elsewhere():
    counts, longer = tallied(keys_of(PAIRS))
    assert counts == {
        ("a", ""): 1, ("a", "contradictory_label"): 3, ("a", "duplicate"): 1,
        ("b", ""): 1, ("b", "contradictory_label"): 1, ("b", "duplicate"): 1,
    }  # fmt: skip
    # of a long, yes, tea against no; of b none, one is as long as two
    assert longer == {"a": (0.75, 4), "b": (0.0, 1)}
    other, _ = tallied(keys_of(PAIRS, sources=("b", "a")))
    assert (other["a", "duplicate"], other.get(("b", "duplicate"), 0)) == (2, 0)


def test_a_contaminated_pair_is_dropped_and_contradicts_nobody():
    [number] = keys_of([BENCHMARK]).add([BENCHMARK])[0]
    counts, longer = tallied(keys_of([*PAIRS, BENCHMARK]), [number])
    assert counts["a", "contaminated"] == 1
    assert counts["a", "duplicate"] == 2  # the second tea is a repetition first
    assert ("b", "contradictory_label") not in counts
    assert longer["a"] == (2 / 3, 3)


def test_repetitions_and_contradictions_are_told_within_and_between_sources():
    assert keys_of(PAIRS).overlaps() == {
        "a": {"num_repeated": 1, "num_elsewhere": 1, "num_both_ways": 1, "num_opposed": 1},
        "b": {"num_repeated": 0, "num_elsewhere": 1, "num_both_ways": 0, "num_opposed": 1},
    }


def test_a_source_with_both_labels_is_opposed_by_another_with_one():
    pairs = [pair("yes", "no", "a"), pair("no", "yes", "a"), pair("yes", "no", "b")]
    told = keys_of(pairs).overlaps()
    assert (told["a"]["num_both_ways"], told["a"]["num_opposed"]) == (1, 1)
    assert (told["b"]["num_both_ways"], told["b"]["num_opposed"]) == (0, 1)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_no_order_of_the_pairs_changes_a_figure(order):
    keys = keys_of([])
    for place in order:
        keys.add(PAIRS[2 * place : 2 * place + 2])
    assert tallied(keys) == tallied(keys_of(PAIRS))
    assert keys.overlaps() == keys_of(PAIRS).overlaps()


def test_every_row_adds_up_and_a_source_without_a_pair_has_one():
    read = pd.DataFrame(
        [
            ("a", 4, 1, 1, 0, 4),
            ("a", 4, 0, 1, 2, 1),
            ("b", 3, 0, 0, 0, 3),
            ("none", 3, -1, 1, 1, 0),
        ],
        columns=["source", *READ],
    )
    reasons = pd.DataFrame(
        [("a", "tied", 2), ("none", "tied", 1)], columns=["source", "reason", "num_rows"]
    )
    cleaned, longer = keys_of(PAIRS, sources=("a", "b", "none")).cleaned(np.zeros(0, np.uint64))
    rows = as_report(pool_rows(read, quarantined=reasons, cleaned=cleaned, longer=longer))
    assert [row["source"] for row in rows] == ["a", "b", "none"]
    for row in rows:
        assert row["num_rows"] + row["num_unfolded"] == (
            row["num_outside"] + row["num_quarantined"] + row["num_pairs"]
        )
        assert row["num_pairs"] == row["num_duplicates"] + row["num_dropped"] + row["num_clean"]
        assert sum(row["quarantined_as"].values()) == row["num_quarantined"]
    assert [row["num_clean"] for row in rows] == [4, 2, 0]
    assert rows[2]["longer_before"] == {"value": None, "low": None, "high": None, "n": 0}


def test_nothing_read_is_nothing():
    counts, longer = tallied(PoolKeys())
    assert (counts, longer, PoolKeys().overlaps(), PoolKeys().num_distinct) == ({}, {}, {}, 0)


def test_different_pairs_of_the_pool_are_counted_once():
    assert keys_of(PAIRS).num_distinct == 6


def test_length_is_that_of_characters_and_not_of_bytes():
    _, longer = tallied(keys_of([pair("é", "ab", "a")]))
    assert longer["a"] == (0.0, 1)
