"""The two retrievals: around errors, and of exemplars. Small vectors whose products are exact."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.retrieval.nearest import (
    RETRIEVED_COLUMNS,
    SEARCH_DEPTH,
    adaptive_k,
    forbidden_exemplars,
    nearest,
    random_exemplars,
    retrieve_around_errors,
    retrieve_exemplars,
)
from synpref_dagster.pairs.record import id_index


def an_id(number, kind=b"p"):
    """An id that ends in zero bytes: pandas would cut those off, given the chance."""
    return kind + number.to_bytes(13, "big") + b"\x00\x00"


def ids_frame(pairs, contents=None, conversations=None):
    numbers = list(pairs)
    return pd.DataFrame(
        {
            "pair_id": id_index(an_id(n) for n in numbers),
            "content_id": id_index(an_id(n, b"c") for n in contents or numbers),
            "conversation_id": id_index(an_id(n, b"x") for n in conversations or numbers),
        }
    )


def whole_vectors(rows, dim=3, seed=0):
    """Vectors of small whole numbers: dot products are exact in whatever order they are summed."""
    return np.random.default_rng(seed).integers(-3, 4, (rows, dim)).astype(np.float32)


def on_a_line(*places):
    """Vectors such that a query (1,) is most similar to the largest place."""
    return np.array(places, dtype=np.float32)[:, None]


def gold_frame(*confidences):
    return pd.DataFrame(
        {
            "pair_id": id_index(an_id(n, b"g") for n in range(len(confidences))),
            "confidence": np.array(confidences, dtype=np.float32),
        }
    )


def pull(confidences, pool_vectors, *, gold_vectors=None, max_pairs=1000):
    pool = ids_frame(range(len(pool_vectors)))
    if gold_vectors is None:
        gold_vectors = np.ones((len(confidences), pool_vectors.shape[1]), dtype=np.float32)
    return retrieve_around_errors(
        gold_frame(*confidences),
        gold_vectors,
        pool=pool,
        pool_vectors=pool_vectors,
        max_pairs=max_pairs,
    )


@given(st.floats(0.0, 1.0))
def test_k_is_eight_when_the_prediction_is_wrong_and_never_grows_with_confidence(p):
    assert 0 <= adaptive_k(p) <= 8
    assert (adaptive_k(p) == 8) == (p <= 0.5 or adaptive_k(p) == 8)
    assert adaptive_k(min(1.0, p + 0.1)) <= adaptive_k(p)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_k_needs_a_probability(p):
    with pytest.raises(ValueError, match="must lie in"):
        adaptive_k(p)


@given(st.integers(1, 30), st.integers(0, 12), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_nearest_agrees_with_a_stable_sort_of_everything(num_vectors, k, seed):
    queries, vectors = whole_vectors(5, seed=seed), whole_vectors(num_vectors, seed=seed + 1)
    indices, similarities = nearest(queries, vectors, k=k, forbidden=None)
    expected = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]
    assert np.array_equal(indices, expected)
    assert np.array_equal(similarities, np.take_along_axis(queries @ vectors.T, expected, axis=1))


@pytest.mark.parametrize(("block", "values"), [(1, 2**26), (3, 2**26), (1024, 1), (1024, 100)])
def test_nearest_does_not_depend_on_the_size_of_a_block(monkeypatch, block, values):
    queries, vectors = whole_vectors(10), whole_vectors(40, seed=1)
    forbidden = [np.array([n, n + 1]) for n in range(10)]
    whole = nearest(queries, vectors, k=6, forbidden=forbidden)
    monkeypatch.setattr("synpref_dagster.curation.retrieval.nearest.QUERY_BLOCK", block)
    monkeypatch.setattr("synpref_dagster.curation.retrieval.nearest.BLOCK_VALUES", values)
    again = nearest(queries, vectors, k=6, forbidden=forbidden)
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))


def test_more_neighbours_extend_fewer():
    queries, vectors = whole_vectors(4), whole_vectors(50, seed=1)
    few, many = (nearest(queries, vectors, k=k, forbidden=None)[0] for k in (5, 20))
    assert np.array_equal(many[:, :5], few)


def test_forbidden_vectors_only_fill_up_and_say_so():
    indices, similarities = nearest(
        on_a_line(1), on_a_line(3, 2, 1), k=3, forbidden=[np.array([0])]
    )
    assert indices.tolist() == [[1, 2, 0]]
    assert similarities.tolist() == [[2.0, 1.0, -np.inf]]


def test_no_vectors_give_no_neighbours():
    indices, similarities = nearest(on_a_line(1), np.zeros((0, 1), np.float32), k=8, forbidden=None)
    assert indices.shape == similarities.shape == (1, 0)


def test_each_gold_pair_pulls_its_k_nearest():
    pulled = pull([0.2], on_a_line(*range(20)))
    assert list(pulled.columns) == RETRIEVED_COLUMNS
    assert pulled["pair_id"].tolist() == [an_id(n) for n in range(19, 11, -1)]
    assert pulled["similarity"].tolist() == list(range(19, 11, -1))
    assert set(pulled["k"]) == {8}
    assert set(pulled["gold_pair_id"]) == {an_id(0, b"g")}


def test_a_sure_and_right_gold_pair_pulls_nothing():
    assert len(pull([1.0], on_a_line(*range(20)))) == 0
    assert len(pull([0.9], on_a_line(*range(20)))) == 1


def test_lower_confidence_is_served_first_and_everybody_takes_turns():
    pulled = pull([0.4, 0.1, 0.6], on_a_line(*range(100)))
    [a, b, c] = (an_id(n, b"g") for n in range(3))
    assert pulled["gold_pair_id"].tolist()[:6] == [b, a, c, b, a, c]
    assert pulled["gold_pair_id"].value_counts().to_dict() == {a: 8, b: 8, c: 4}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 60), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_each_pair_is_pulled_once_within_the_budget_and_by_nobody_more_than_k(
    confidences, pool_size, max_pairs
):
    pool_vectors = whole_vectors(pool_size)
    gold_vectors = whole_vectors(len(confidences), seed=1)
    pulled = pull(confidences, pool_vectors, gold_vectors=gold_vectors, max_pairs=max_pairs)
    assert len(pulled) <= max_pairs
    assert pulled["pair_id"].is_unique
    assert (pulled["pair_id"].map(lambda each: each[-2:]) == b"\x00\x00").all()
    per_gold = pulled.groupby("gold_pair_id").agg(n=("pair_id", "size"), k=("k", "first"))
    assert (per_gold["n"] <= per_gold["k"]).all()
    wanted = sum(adaptive_k(float(np.float32(p))) for p in confidences)
    if pool_size <= SEARCH_DEPTH:
        assert len(pulled) == min(wanted, max_pairs, pool_size)
    again = pull(confidences, pool_vectors, gold_vectors=gold_vectors, max_pairs=max_pairs)
    assert again.equals(pulled)


def test_nobody_looks_further_than_the_search_depth():
    pulled = pull([0.1] * 10, on_a_line(*range(200)))
    assert len(pulled) == SEARCH_DEPTH
    assert pulled["similarity"].min() == 200 - SEARCH_DEPTH


def test_an_empty_pool_gives_an_empty_frame():
    assert list(pull([0.1], np.zeros((0, 2), np.float32)).columns) == RETRIEVED_COLUMNS
    assert len(pull([0.1], np.zeros((0, 2), np.float32))) == 0


GOLD = ids_frame(range(10), contents=range(10), conversations=[0, 0, 1, 1, 2, 3, 4, 5, 6, 7])


def test_exemplars_come_most_similar_first_and_at_most_eight():
    targets = ids_frame([50])
    [rows] = retrieve_exemplars(
        targets, on_a_line(1), gold=GOLD, gold_vectors=on_a_line(*range(10))
    )
    assert rows.tolist() == [9, 8, 7, 6, 5, 4, 3, 2]


@pytest.mark.parametrize("draw", ["retrieved", "random"])
def test_neither_the_pair_nor_its_twin_nor_its_conversation_is_ever_an_exemplar(draw):
    targets = ids_frame([100, 101, 102], contents=[3, 4, 200], conversations=[1, 2, 0])
    if draw == "random":
        rng = np.random.default_rng(0)
        rows = random_exemplars(targets, gold=GOLD, k=8, rng=rng)
    else:
        rows = retrieve_exemplars(
            targets, whole_vectors(3), gold=GOLD, gold_vectors=whole_vectors(10, seed=1)
        )
    assert set(rows[0]) == {0, 1, 4, 5, 6, 7, 8, 9}
    assert 4 not in rows[1]
    assert set(rows[2]) == {2, 3, 4, 5, 6, 7, 8, 9}
    assert [len(each) for each in rows] == [8, 8, 8]


def test_forbidden_rows_are_found_by_content_and_by_conversation():
    targets = ids_frame([1, 2, 3], contents=[4, 99, 0], conversations=[98, 1, 0])
    found = forbidden_exemplars(targets, GOLD)
    assert [rows.tolist() for rows in found] == [[4], [2, 3], [0, 1]]


def test_fewer_gold_pairs_than_asked_give_fewer_exemplars():
    few = GOLD.iloc[:2]
    targets = ids_frame([7, 8], conversations=[0, 9])
    rows = retrieve_exemplars(targets, whole_vectors(2), gold=few, gold_vectors=whole_vectors(2))
    assert [len(each) for each in rows] == [0, 2]


def test_random_exemplars_differ_between_targets_and_repeat_with_the_seed():
    targets = ids_frame([100, 101, 102])

    def draw():
        rng = np.random.default_rng(1)
        return [rows.tolist() for rows in random_exemplars(targets, gold=GOLD, k=4, rng=rng)]

    assert draw() == draw()
    assert len({tuple(rows) for rows in draw()}) > 1
