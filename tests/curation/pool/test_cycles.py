"""Preference cycles are found exactly: no cycle missed, no ranking accused."""

import itertools

import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.pool.cycles import cycle_sizes, with_response_keys
from synpref_dagster.pairs.record import PAIR_SCHEMA, PreferencePair, pairs_to_table


def edges_of(*labels: str, ask: str = "Hi"):
    """One pair per "A>B" label."""
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": ask},),
            chosen=label[0],
            rejected=label[2],
            source="s",
            origin="human",
        )
        for label in labels
    ]
    return with_response_keys(pairs_to_table(pairs))


def on_cycle(edges) -> list[bool]:
    return (cycle_sizes(edges) > 0).tolist()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["A>B", "B>C", "C>A"], [True, True, True]),
        (["A>B", "B>C", "A>C"], [False, False, False]),
        (["A>B", "B>C", "C>A", "C>D", "E>A"], [True, True, True, False, False]),
        (["A>B", "B>C", "C>A", "C>D", "D>E", "E>F", "F>D"], [True] * 3 + [False] + [True] * 3),
        # Both labels of one pair contradict each other; that is no cycle.
        (["A>B", "B>A"], [False, False]),
        (["A>B", "B>A", "B>C", "C>A"], [False] * 4),
        (["A>B", "A>B", "B>C", "C>A"], [True] * 4),
    ],
)
def test_edges_on_a_cycle_are_found(labels, expected):
    assert on_cycle(edges_of(*labels)) == expected


def test_the_same_responses_in_two_conversations_are_two_graphs():
    import pyarrow as pa

    one, other = edges_of("A>B", "B>C"), edges_of("C>A", ask="Bye")
    assert on_cycle(pa.concat_tables([one, other])) == [False, False, False]


def test_the_size_counts_the_responses_of_a_cycle_and_not_its_edges():
    edges = edges_of("A>B", "B>C", "C>D", "D>A", "A>C", "D>E")
    assert cycle_sizes(edges).tolist() == [4, 4, 4, 4, 4, 0]


def test_no_pairs_have_no_cycles():
    assert len(cycle_sizes(with_response_keys(PAIR_SCHEMA.empty_table()))) == 0


def test_a_long_chain_closed_to_a_ring_is_one_cycle():
    names = [chr(ord("a") + number) for number in range(26)] + [chr(0x400 + n) for n in range(200)]
    chain = [f"{first}>{second}" for first, second in itertools.pairwise(names)]
    assert not any(on_cycle(edges_of(*chain)))
    assert all(on_cycle(edges_of(*chain, f"{names[-1]}>{names[0]}")))


def reaches(graph: dict[str, set[str]], start: str, goal: str) -> bool:
    seen, queue = set(), [start]
    while queue:
        node = queue.pop()
        if node == goal:
            return True
        queue += graph.get(node, set()) - seen
        seen |= graph.get(node, set())
    return False


@given(st.sets(st.tuples(st.sampled_from("ABCDEFG"), st.sampled_from("ABCDEFG")), max_size=18))
@settings(max_examples=150, deadline=None)
def test_an_edge_is_on_a_cycle_when_its_end_reaches_its_start(drawn):
    labels = sorted((one, other) for one, other in drawn if one != other)
    single = {(one, other) for one, other in labels if (other, one) not in drawn}
    graph: dict[str, set[str]] = {}
    for one, other in single:
        graph.setdefault(one, set()).add(other)
    expected = [(one, other) in single and reaches(graph, other, one) for one, other in labels]
    assert on_cycle(edges_of(*(f"{one}>{other}" for one, other in labels))) == expected
