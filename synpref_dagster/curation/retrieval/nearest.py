"""The two retrievals of an iteration (paper Sec. 3.2, step 2).

(a) around every gold pair, pull similar unverified pairs, more where the reward model is wrong;
(b) for every pulled pair, fetch similar gold pairs as exemplars for the judges.
Similarity is the dot product of L2-normalised vectors of (x, a). A pair can never be its own
exemplar, nor can a pair of the same conversation.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

MAX_EXEMPLARS = 8  # Sec. 3.2, step 3: at most eight exemplars in a judge prompt
K_MAX = 8  # Sec. 3.2, step 2: k_max
QUERY_BLOCK = 1024  # queries per similarity block, at most
BLOCK_VALUES = 2**26  # similarities per block, at most: 256 MB as float32
SEARCH_DEPTH = 8 * K_MAX  # neighbours looked at per gold pair; what is farther is not similar
FindNearest: TypeAlias = Callable[..., tuple[np.ndarray, np.ndarray]]
"""A search with the arguments and the result of `nearest`."""
RETRIEVED_COLUMNS = ["pair_id", "gold_pair_id", "similarity", "gold_confidence", "k"]


def adaptive_k(confidence: float, *, k_max: int = K_MAX) -> int:
    """How many neighbours to pull around a gold pair (Sec. 3.2, step 2).

    All `k_max` when the model is wrong or undecided, fewer the surer it is.

    >>> [adaptive_k(p) for p in (0.2, 0.5, 0.51, 0.9, 1.0)]
    [8, 8, 4, 1, 0]

    Raises:
        ValueError: `confidence` is not a probability.
    """
    if not 0.0 <= confidence <= 1.0:
        raise ValueError(f"confidence is {confidence}, must lie in [0, 1]")
    return k_max if confidence <= 0.5 else ceil(k_max * (1.0 - confidence))


def nearest(
    queries: np.ndarray, vectors: np.ndarray, *, k: int, forbidden: Sequence[np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Exact k nearest `vectors` of each query by dot product, best first.

    Args:
        queries: float32 (num_queries, dim).
        vectors: float32 (num_vectors, dim). With both in float64 a similarity, rounded, does not
            depend on what else is in the product.
        k: neighbours per query.
        forbidden: per query, indices of vectors that must not be returned.

    Returns:
        indices int64 and similarities float32, both (num_queries, min(k, num_vectors)); forbidden
        ones that had to fill up a row carry similarity -inf. Ties go to the lower index.
    """
    k = min(k, len(vectors))
    indices = np.zeros((len(queries), k), dtype=np.int64)
    similarities = np.full((len(queries), k), -np.inf, dtype=np.float32)
    if k == 0:
        return indices, similarities
    num_rows = max(1, min(QUERY_BLOCK, BLOCK_VALUES // len(vectors)))
    for start in range(0, len(queries), num_rows):
        block = slice(start, min(start + num_rows, len(queries)))
        similarity = (queries[block] @ vectors.T).astype(np.float32, copy=False)
        if forbidden is not None:
            for row, banned in enumerate(forbidden[block]):
                similarity[row, banned] = -np.inf
        indices[block] = _largest(similarity, k)
        similarities[block] = np.take_along_axis(similarity, indices[block], axis=1)
    return indices, similarities


def retrieve_around_errors(
    gold: pd.DataFrame,
    gold_vectors: np.ndarray,
    *,
    pool: pd.DataFrame,
    pool_vectors: Any,
    max_pairs: int,
    find_nearest: FindNearest = nearest,
) -> pd.DataFrame:
    """Error-driven retrieval: unverified pairs near the gold pairs that the model gets wrong.

    Gold pairs take turns in order of rising confidence, each pulling its next nearest pair that
    nobody pulled before, until each has its `adaptive_k`, or others pulled all of its
    `SEARCH_DEPTH` nearest, or `max_pairs` is reached. (Serving the least confident pair in full
    first concentrates the budget on a few unlearnable pairs.)

    Args:
        gold: columns `pair_id` and `confidence` (p of the current label of the gold pair).
        gold_vectors: float32 (len(gold), dim), same order.
        pool: column `pair_id`; the unverified pairs that may be pulled.
        pool_vectors: float32 (len(pool), dim), same order, or what else `find_nearest` takes.
        max_pairs: budget of this iteration.
        find_nearest: the search, exact by default; an index is quicker on millions of vectors.

    Returns:
        One row per pulled pair, in the order pulled, with `RETRIEVED_COLUMNS`.
    """
    wanted = np.array([adaptive_k(p) for p in gold["confidence"]], dtype=np.int64)
    # Neighbours may be taken by others: look deeper than k so that each still finds its own.
    depth = min(len(pool), SEARCH_DEPTH)
    indices, similarities = find_nearest(gold_vectors, pool_vectors, k=depth, forbidden=None)
    order = np.argsort(gold["confidence"].to_numpy(), kind="stable")
    position = np.zeros(len(gold), dtype=np.int64)
    taken: set[int] = set()
    pulled: list[tuple[int, int, float]] = []
    for turn in range(K_MAX):
        for row in order:
            if turn >= wanted[row] or len(pulled) >= max_pairs:
                continue
            while position[row] < depth and int(indices[row, position[row]]) in taken:
                position[row] += 1
            if position[row] == depth:
                continue
            column = int(indices[row, position[row]])
            taken.add(column)
            pulled.append((column, int(row), float(similarities[row, position[row]])))
    return _retrieved_frame(pulled, gold=gold, pool=pool, wanted=wanted)


def retrieve_exemplars(
    targets: pd.DataFrame,
    target_vectors: np.ndarray,
    *,
    gold: pd.DataFrame,
    gold_vectors: np.ndarray,
    k: int = MAX_EXEMPLARS,
) -> list[np.ndarray]:
    """Rows of `gold` to show a judge for each target pair, most similar first.

    Both frames carry `content_id` and `conversation_id`; the pair itself, its flipped twin and
    every pair of its conversation are never returned (no exemplar leak).
    """
    indices, similarities = nearest(
        target_vectors, gold_vectors, k=k, forbidden=forbidden_exemplars(targets, gold)
    )
    return [row[np.isfinite(values)] for row, values in zip(indices, similarities, strict=True)]


def random_exemplars(
    targets: pd.DataFrame, *, gold: pd.DataFrame, k: int = MAX_EXEMPLARS, rng: np.random.Generator
) -> list[np.ndarray]:
    """Like `retrieve_exemplars`, but drawn at random: the comparison of paper Tab. 14."""
    chosen = []
    for banned in forbidden_exemplars(targets, gold):
        allowed = np.setdiff1d(np.arange(len(gold)), banned)
        chosen.append(rng.permutation(allowed)[:k])
    return chosen


def forbidden_exemplars(targets: pd.DataFrame, gold: pd.DataFrame) -> list[np.ndarray]:
    """Per target, the rows of `gold` that share its content or its conversation."""
    by_conversation = gold.groupby("conversation_id", sort=False).indices
    by_content = gold.groupby("content_id", sort=False).indices
    none = np.array([], dtype=np.int64)
    return [
        np.union1d(by_conversation.get(conversation, none), by_content.get(content, none))
        for conversation, content in zip(
            targets["conversation_id"], targets["content_id"], strict=True
        )
    ]


def _largest(similarity: np.ndarray, k: int) -> np.ndarray:
    """int64 (rows, k): columns of the k largest values of each row, ties to the lower column.

    Partition first, then sort the few that remain: sorting whole rows takes forty times as long.
    """
    cut = similarity.shape[1] - k
    smallest_wanted = np.partition(similarity, cut, axis=1)[:, cut]
    order = np.empty((len(similarity), k), dtype=np.int64)
    for row, (values, least) in enumerate(zip(similarity, smallest_wanted, strict=True)):
        columns = np.flatnonzero(values >= least)
        order[row] = columns[np.argsort(-values[columns], kind="stable")[:k]]
    return order


def _retrieved_frame(
    pulled: Sequence[tuple[int, int, float]],
    *,
    gold: pd.DataFrame,
    pool: pd.DataFrame,
    wanted: np.ndarray,
) -> pd.DataFrame:
    columns = np.array([column for column, _, _ in pulled], dtype=np.int64)
    rows = np.array([row for _, row, _ in pulled], dtype=np.int64)
    return pd.DataFrame(
        {
            "pair_id": pool["pair_id"].to_numpy()[columns],
            "gold_pair_id": gold["pair_id"].to_numpy()[rows],
            "similarity": np.array([value for _, _, value in pulled], dtype=np.float32),
            "gold_confidence": gold["confidence"].to_numpy(dtype=np.float32)[rows],
            "k": wanted[rows].astype(np.int16),
        },
        columns=RETRIEVED_COLUMNS,
    )
