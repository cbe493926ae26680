"""An index finds what the exact search finds, but for the few it misses."""

import numpy as np
import pytest

from synpref_dagster.curation.retrieval import vector_index
from synpref_dagster.curation.retrieval.nearest import nearest
from synpref_dagster.curation.retrieval.vector_index import (
    StoredVectors,
    nearest_at_scale,
    nearest_stored,
    recall,
)

NUM_QUERIES = 800


def clustered(num_vectors: int, dim: int = 32) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, dim))
    vectors = centres[rng.integers(0, 50, num_vectors)] + 0.5 * rng.normal(size=(num_vectors, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_below_the_limit_the_search_is_exact():
    vectors = clustered(500)
    banned = [np.array([row]) for row in range(20)]
    for found, exact in zip(
        nearest_at_scale(vectors[:20], vectors, k=5, forbidden=banned),
        nearest(vectors[:20], vectors, k=5, forbidden=banned),
        strict=True,
    ):
        assert np.array_equal(found, exact)


def test_above_the_limit_an_index_finds_most_neighbours():
    pytest.importorskip("faiss")
    vectors = clustered(8_000)
    banned = [np.array([row, row + 1]) for row in range(NUM_QUERIES)]
    exact, _ = nearest(vectors[:NUM_QUERIES], vectors, k=8, forbidden=banned)
    found, similarities = nearest_at_scale(
        vectors[:NUM_QUERIES], vectors, k=8, forbidden=banned, exact_limit=1_000
    )
    assert recall(found, exact) > 0.9
    assert found.shape == similarities.shape == (NUM_QUERIES, 8)
    assert not any(np.isin(row, none).any() for row, none in zip(found, banned, strict=True))
    assert (np.diff(similarities, axis=1) <= 0).all()
    again, _ = nearest_at_scale(
        vectors[:NUM_QUERIES], vectors, k=8, forbidden=banned, exact_limit=1_000
    )
    assert np.array_equal(again, found)


def test_a_few_queries_are_not_worth_an_index(monkeypatch):
    def never(*_, **__):
        pytest.fail("an index was built")

    monkeypatch.setattr(vector_index, "_index", never)
    vectors = clustered(8_000)
    found, _ = nearest_at_scale(vectors[:100], vectors, k=8, forbidden=None, exact_limit=1_000)
    exact, _ = nearest(vectors[:100], vectors, k=8, forbidden=None)
    assert np.array_equal(found, exact)


def test_recall_of_nothing_is_not_a_number():
    assert np.isnan(recall(np.empty((0, 3)), np.empty((0, 3))))


def stored(vectors: np.ndarray, parts: list[np.ndarray]) -> StoredVectors:
    return StoredVectors(
        num=len(vectors), dim=vectors.shape[1],
        portions=lambda: ((places, vectors[places]) for places in parts),
    )  # fmt: skip


@pytest.mark.parametrize("num_parts", [1, 3, 40])
def test_stored_vectors_give_the_same_neighbours_however_they_are_portioned(num_parts):
    vectors = clustered(300)
    vectors[200:] = vectors[:100]  # ties, which go to the lower place
    shuffled = np.random.default_rng(1).permutation(300)
    parts = [np.sort(part) for part in np.array_split(shuffled, num_parts)]
    found, values = nearest_stored(vectors[:20], stored(vectors, parts), k=12, exact_limit=100)
    exact = vectors[:20].astype(float) @ vectors.astype(float).T
    for row, similarity in enumerate(exact.astype(np.float32)):
        best = np.argsort(-similarity, kind="stable")[:12]
        assert found[row].tolist() == best.tolist()
        assert values[row].tolist() == similarity[best].tolist()


def test_few_stored_vectors_are_searched_as_if_they_were_not_stored():
    vectors = clustered(50)
    parts = [np.arange(0, 50, 2), np.arange(1, 50, 2)]
    found, values = nearest_stored(vectors[:5], stored(vectors, parts), k=60)
    exact, similarities = nearest(vectors[:5], vectors, k=60, forbidden=None)
    assert found.tolist() == exact.tolist()
    assert values.tolist() == similarities.tolist()
