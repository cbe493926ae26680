"""Near-duplicate pairs of a whole pool: MinHash finds who may be alike, the texts confirm it.

A pair's text is its conversation and both responses, sorted, so that near-identical pairs meet
whatever their labels. Bands are worked on one at a time, and in each key's group every pair is
compared with the first one only: work and memory grow with the pool, not with its square. What
meets in at least `MIN_SHARED_BANDS` bands is compared token by token, numbers and signs included,
which the hashed words leave out: "3 + 4" is not "5 + 6".
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.texts.minhash import (
    NUM_BANDS,
    band_keys,
    estimated_similarity,
    signatures,
)
from synpref_dagster.curation.texts.ngrams import UNSEGMENTED_RANGES
from synpref_dagster.pairs.ids import first_occurrences, id_keys
from synpref_dagster.pairs.record import ID_TYPE, PreferencePair, id_array

MIN_SHARED_BANDS = 2
"""Of 16: 99.7% of pairs with similarity 0.8 meet so often, 0.7% of those with 0.3."""
TOKENS_PER_GRAM = 5
RELATIONS = ("same_label", "opposite_label", "contradiction", "similar_text")
"""Alike in conversation and both responses, with the same or the opposite preference; the very same
content under both labels, which cleaning marks as risky; or alike as a whole only, for instance a
long prompt with other responses."""
BAND_COLUMNS = tuple(f"band_{band:02d}" for band in range(NUM_BANDS))
SIGNED_SCHEMA = pa.schema([("pair_id", ID_TYPE), *((name, pa.uint64()) for name in BAND_COLUMNS)])
SIDES = ("first", "second")
LINK_COLUMNS = ("first_source", "second_source", "estimate", "similarity", "relation")

_LETTERS = "".join(f"{chr(low)}-{chr(high)}" for low, high in UNSEGMENTED_RANGES)
TOKEN = re.compile(rf"[{_LETTERS}]|[^\W{_LETTERS}]+|[^\w\s]")

FetchPairs = Callable[[Sequence[bytes]], Iterable[PreferencePair]]
Grams = frozenset[tuple[str, ...]]


def sign_shard(table: pa.Table) -> pa.Table:
    """`SIGNED_SCHEMA` of one shard of `PAIR_SCHEMA`: the band keys of every pair, in order."""
    columns = [table.column(name).to_pylist() for name in ("conversation", "chosen", "rejected")]
    texts = [
        _pair_text([turn["content"] or "" for turn in turns], chosen or "", rejected or "")
        for turns, chosen, rejected in zip(*columns, strict=True)
    ]
    keys = band_keys(signatures(texts))
    bands = [pa.array(np.ascontiguousarray(keys[:, band])) for band in range(NUM_BANDS)]
    return pa.Table.from_arrays(
        [table.column("pair_id").combine_chunks(), *bands], schema=SIGNED_SCHEMA
    )


def candidate_links(bands: Iterable[np.ndarray]) -> np.ndarray:
    """(c, 2) int64: rows that may be near-duplicates, the earlier one first.

    Args:
        bands: per band (n,) uint64, the keys of all rows; one band is held at a time.
    """
    links, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    num_rows = 0
    for keys in bands:
        num_rows = len(keys)
        first, second = _met(keys)
        met = first * num_rows + second
        both = np.concatenate([links, met])
        weights = np.concatenate([counts, np.ones(len(met), dtype=np.int64)])
        links, places = np.unique(both, return_inverse=True)
        counts = np.bincount(places, weights=weights, minlength=len(links)).astype(np.int64)
    often = links[counts >= MIN_SHARED_BANDS]
    return np.stack(np.divmod(often, max(num_rows, 1)), axis=1)


def confirm_links(
    links: Sequence[tuple[bytes, bytes]], fetch: FetchPairs, *, min_similarity: float
) -> pa.Table:
    """The links whose pairs are as similar as asked for, compared on their texts.

    Args:
        links: candidate pairs by id.
        fetch: gives the pairs of some ids, in any order.
        min_similarity: Jaccard similarity of the token 5-grams of two pairs.

    Returns:
        first_pair_id, second_pair_id, `LINK_COLUMNS`; relation is one of `RELATIONS`.
    """
    pairs = {
        pair.pair_id: pair for pair in fetch(sorted({each for link in links for each in link}))
    }
    texts = {pair_id: _whole_text(pair) for pair_id, pair in pairs.items()}
    signature = dict(zip(texts, signatures(list(texts.values())), strict=True))
    grams = {pair_id: token_grams(text, [TOKENS_PER_GRAM]) for pair_id, text in texts.items()}
    rows = []
    for first, second in links:
        similarity = jaccard(grams[first], grams[second])
        if similarity >= min_similarity:
            rows.append(
                {
                    "first_pair_id": first,
                    "second_pair_id": second,
                    "first_source": pairs[first].source,
                    "second_source": pairs[second].source,
                    "estimate": float(estimated_similarity(signature[first], signature[second])),
                    "similarity": similarity,
                    "relation": relation(pairs[first], pairs[second], min_similarity),
                }
            )
    return _link_table(rows)


def relation(first: PreferencePair, second: PreferencePair, min_similarity: float) -> str:
    """How two different pairs that are alike as a whole relate, one of `RELATIONS`.

    Parts are compared by words and neighbouring words, because responses may be a word long.
    """
    if first.content_id == second.content_id:
        return "contradiction"
    if _likeness(_conversation_text(first), _conversation_text(second)) < min_similarity:
        return "similar_text"
    straight = min(
        _likeness(first.chosen, second.chosen), _likeness(first.rejected, second.rejected)
    )
    crossed = min(
        _likeness(first.chosen, second.rejected), _likeness(first.rejected, second.chosen)
    )
    if max(straight, crossed) < min_similarity:
        return "similar_text"
    return "opposite_label" if crossed > straight else "same_label"


def rows_of(ids: pa.Table, wanted: pa.Table) -> np.ndarray:
    """(n,) int64: rows of `ids` at which each wanted pair stands for the first time.

    Both have a column pair_id; memory holds both, 16 bytes an id.
    """
    storage, known = (table.column("pair_id").combine_chunks().storage for table in (ids, wanted))
    named = np.flatnonzero(np.asarray(pc.is_in(storage, value_set=known)))
    first = first_occurrences(id_keys(ids.column("pair_id").take(pa.array(named))))
    return named[first == np.arange(len(named))]


def cluster_table(links: pa.Table) -> pa.Table:
    """pair_id and cluster (int64) of all pairs that a chain of links connects.

    Pairs come and clusters are numbered as the links name them first.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    sides = [links.column(f"{side}_pair_id").combine_chunks().storage for side in SIDES]
    turns = np.arange(2 * links.num_rows).reshape(2, -1).T.ravel()
    named = pc.dictionary_encode(pa.concat_arrays(sides).take(pa.array(turns)))
    ids, ends = named.dictionary, np.asarray(named.indices).reshape(-1, 2)
    num_ids = max(len(ids), 1)  # a graph has at least one node
    graph = csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(num_ids, num_ids))
    numbers = connected_components(graph, directed=False)[1][: len(ids)]
    return pa.table(
        {
            "pair_id": pa.ExtensionArray.from_storage(ID_TYPE, ids),
            "cluster": pa.array(numbers, pa.int64()),
        }
    )


def examples(links: pd.DataFrame, per_relation: int = 5) -> pd.DataFrame:
    """The most similar links of each relation: ids to look up, sources and similarities."""
    ranked = links.sort_values("similarity", ascending=False, kind="stable")
    shown = ranked.groupby("relation", sort=True).head(per_relation).sort_values("relation")
    ids = {f"{side}_pair_id": [each.hex() for each in shown[f"{side}_pair_id"]] for side in SIDES}
    return shown.assign(**ids)


def count_by_sources(links: pd.DataFrame) -> pd.DataFrame:
    """Links by the sources they connect, and how: first_source, second_source, `RELATIONS`."""
    ordered = np.sort(links[["first_source", "second_source"]].to_numpy(str), axis=1)
    named = pd.DataFrame(ordered, columns=["one_source", "other_source"])
    named["relation"] = links["relation"].to_numpy(object)
    counts = named.groupby(["one_source", "other_source", "relation"]).size().unstack(fill_value=0)
    return counts.reindex(columns=list(RELATIONS), fill_value=0).reset_index()


def summary(links: pd.DataFrame, members: Mapping[bytes, int]) -> dict[str, Any]:
    """Figures of the report: links, clusters, what could go, how good the estimates were."""
    sizes = np.bincount(list(members.values())) if members else np.zeros(0, dtype=np.int64)
    counts = links["relation"].value_counts()
    error = (links["estimate"] - links["similarity"]).abs()
    return {
        "num_links": len(links),
        **{f"num_{name}": int(counts.get(name, 0)) for name in RELATIONS},
        "num_clusters": len(sizes),
        "num_in_clusters": len(members),
        "num_beyond_the_first": len(members) - len(sizes),
        "largest_cluster": int(sizes.max(initial=0)),
        "mean_estimate_error": float(error.mean()) if len(links) else 0.0,
    }


def token_grams(text: str, sizes: Sequence[int]) -> Grams:
    """Runs of tokens of the given sizes; the tokens themselves where a text has too few.

    >>> sorted(token_grams("3 + 4", [2]))
    [('+', '4'), ('3', '+')]
    """
    tokens = TOKEN.findall(text.lower())
    runs = frozenset(run for size in sizes for run in _runs(tokens, size))
    return runs or frozenset((token,) for token in tokens)


def jaccard(first: Grams, second: Grams) -> float:
    """Share of the grams of both that are in each; 1 for two texts without any."""
    union = len(first | second)
    return len(first & second) / union if union else 1.0


def _met(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first row, later row) for every row whose key an earlier row has."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    starts = np.append(True, ranked[1:] != ranked[:-1]) if len(keys) else np.zeros(0, dtype=bool)
    first = order[np.flatnonzero(starts)][np.cumsum(starts) - 1]
    later = ~starts
    return first[later].astype(np.int64), order[later].astype(np.int64)


def _pair_text(turns: Sequence[str], chosen: str, rejected: str) -> str:
    return "\n".join([*turns, *sorted((chosen, rejected))])


def _conversation_text(pair: PreferencePair) -> str:
    return "\n".join(turn["content"] for turn in pair.conversation)


def _whole_text(pair: PreferencePair) -> str:
    contents = [turn["content"] for turn in pair.conversation]
    return _pair_text(contents, pair.chosen, pair.rejected)


def _likeness(first: str, second: str) -> float:
    return jaccard(token_grams(first, [1, 2]), token_grams(second, [1, 2]))


def _runs(tokens: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return zip(*(tokens[start:] for start in range(size)), strict=False)


def _link_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        name: id_array([row[name] for row in rows])
        for name in (f"{side}_pair_id" for side in SIDES)
    }
    for name in LINK_COLUMNS:
        kind = pa.float64() if name in ("estimate", "similarity") else pa.string()
        columns[name] = pa.array([row[name] for row in rows], kind)
    return pa.table(columns)
