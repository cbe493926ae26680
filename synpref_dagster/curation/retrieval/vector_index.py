"""Nearest vectors at scale: exact up to some 200,000 vectors, faiss IVF above (extra `retrieval`).

The same arguments and the same result as `curation.retrieval.nearest`; above the limit a neighbour
may be missed, and `recall` says how often.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from synpref_dagster.curation.retrieval.nearest import nearest

EXACT_LIMIT = 200_000
"""Up to here a full product is as quick as building an index."""
LISTS_PER_ROOT = 4  # number of inverted lists = 4 sqrt(n), the usual choice
PROBED_SHARE = 0.02
"""Share of the lists that a query looks into."""
TRAINING_PER_LIST = 64
"""Vectors per list that the clustering is trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredVectors:
    """Vectors that are read in portions, each with its places in their common order."""

    num: int
    dim: int
    portions: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
    """Gives places int64 (m,), ascending, and vectors float32 (m, dim); each place once in all."""

    def __len__(self) -> int:
        """Number of vectors."""
        return self.num

    def matrix(self) -> np.ndarray:
        """float32 (num, dim): all of them in order."""
        whole = np.empty((self.num, self.dim), dtype=np.float32)
        for places, vectors in self.portions():
            whole[places] = vectors
        return whole


def nearest_stored(
    queries: np.ndarray,
    vectors: StoredVectors,
    *,
    k: int,
    forbidden: None = None,
    exact_limit: int = EXACT_LIMIT,
) -> tuple[np.ndarray, np.ndarray]:
    """`nearest_at_scale`; above the limit an exact search holds one portion at a time.

    Args:
        queries: float32 (num_queries, dim).
        vectors: those to search.
        k: neighbours per query.
        forbidden: nothing is: queries and vectors are different pairs.
        exact_limit: number of vectors up to which all are held.
    """
    if vectors.num <= exact_limit or is_worth_an_index(len(queries), vectors.num):
        return nearest_at_scale(
            queries, vectors.matrix(), k=k, forbidden=forbidden, exact_limit=exact_limit
        )
    # How vectors are portioned must not show in the last digit of a similarity, nor in its ties.
    exactly = queries.astype(np.float64)
    indices = np.zeros((len(queries), 0), dtype=np.int64)
    similarities = np.zeros((len(queries), 0), dtype=np.float32)
    for places, portion in vectors.portions():
        found, values = nearest(exactly, portion.astype(np.float64), k=k, forbidden=None)
        indices = np.concatenate([indices, places[found]], axis=1)
        similarities = np.concatenate([similarities, values], axis=1)
        # Ties go to the lower place, whichever portion it is in.
        best = np.lexsort((indices, -similarities), axis=-1)[:, :k]
        indices = np.take_along_axis(indices, best, axis=1)
        similarities = np.take_along_axis(similarities, best, axis=1)
    return indices, similarities


def nearest_at_scale(
    queries: np.ndarray,
    vectors: np.ndarray,
    *,
    k: int,
    forbidden: Sequence[np.ndarray] | None,
    exact_limit: int = EXACT_LIMIT,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest `vectors` of each query by dot product, best first; see `nearest`.

    Args:
        queries: float32 (num_queries, dim).
        vectors: float32 (num_vectors, dim).
        k: neighbours per query.
        forbidden: per query, indices of vectors that must not be returned.
        exact_limit: number of vectors up to which the search is exact.
        seed: of the clustering.

    Returns:
        indices int64 and similarities float32, both (num_queries, min(k, num_vectors)); places that
        could not be filled carry similarity -inf.

    Raises:
        ValueError: an index is needed but faiss is not installed.
    """
    if len(vectors) <= exact_limit or not is_worth_an_index(len(queries), len(vectors)):
        return nearest(queries, vectors, k=k, forbidden=forbidden)
    spare = max((len(banned) for banned in forbidden), default=0) if forbidden is not None else 0
    index = _index(np.ascontiguousarray(vectors, dtype=np.float32), seed=seed)
    found, found_indices = index.search(
        np.ascontiguousarray(queries, dtype=np.float32), min(k + spare, len(vectors))
    )
    found[found_indices < 0] = -np.inf
    if forbidden is not None:
        for row, banned in enumerate(forbidden):
            found[row, np.isin(found_indices[row], banned)] = -np.inf
    # Ties go to the lower index, as in the exact search.
    order = np.lexsort((found_indices, -found), axis=-1)[:, :k]
    indices = np.take_along_axis(found_indices, order, axis=1)
    return np.maximum(indices, 0), np.take_along_axis(found, order, axis=1)


def is_worth_an_index(num_queries: int, num_vectors: int) -> bool:
    """Whether an index costs less than it saves.

    Building one compares each vector with every list, in the clustering and when it is added: the
    work of some two exact searches with as many queries as there are lists.

    >>> is_worth_an_index(1_000, 400_000), is_worth_an_index(20_000, 400_000)
    (False, True)
    """
    return num_queries > 2 * _num_lists(num_vectors)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Share of the exact neighbours that were found, over all queries; NaN without any.

    >>> recall(np.array([[1, 2]]), np.array([[2, 3]]))
    0.5
    """
    if not exact.size:
        return float("nan")
    hits = [np.isin(row, others).mean() for row, others in zip(exact, found, strict=True)]
    return float(np.mean(hits))


def _num_lists(num_vectors: int) -> int:
    return max(1, round(LISTS_PER_ROOT * sqrt(num_vectors)))


def _index(vectors: np.ndarray, *, seed: int) -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            f"{len(vectors):,} vectors need an index: pip install 'synpref-dagster[retrieval]'"
        ) from error
    num_vectors, dim = vectors.shape
    num_lists = _num_lists(num_vectors)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, num_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    index.cp.min_points_per_centroid = 1
    rng = np.random.default_rng(seed)
    sample = rng.permutation(num_vectors)[: num_lists * TRAINING_PER_LIST]
    index.train(vectors[np.sort(sample)])
    index.add(vectors)
    index.nprobe = max(1, round(PROBED_SHARE * num_lists))
    return index
