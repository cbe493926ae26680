"""Preference cycles: labels of one conversation that no ranking of its responses can satisfy.

A > B, B > C and C > A cannot all be right. Every pair of a conversation is an edge from its chosen
to its rejected response; edges inside a strongly connected component lie on a cycle. Contradictory
labels of one pair (A > B and B > A) are left to `cleaning.contradicted_rows`.
"""

from hashlib import blake2b

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.pool.cleaning import contradicted_rows
from synpref_dagster.pairs.ids import first_occurrences, id_keys

MIN_CYCLE = 3
KEY_BYTES = 8
"""A response is told from the others of its conversation by so many bytes."""
EDGE_COLUMNS = ("pair_id", "content_id", "conversation_id")
KEY_COLUMNS = ("chosen_key", "rejected_key")


def with_response_keys(table: pa.Table) -> pa.Table:
    """The table with `chosen_key` and `rejected_key`, which tell responses of one conversation."""
    for side, key in zip(("chosen", "rejected"), KEY_COLUMNS, strict=True):
        texts = table.column(side).to_pylist()
        table = table.append_column(key, pa.array(map(_response_key, texts), pa.uint64()))
    return table


def cycle_sizes(edges: pa.Table, *, contradicted: np.ndarray | None = None) -> np.ndarray:
    """(n,) int64: number of responses of the cycles that an edge lies on, 0 for none.

    Needs `EDGE_COLUMNS` and `KEY_COLUMNS`. Cycles that share a response count as one. Contradicted
    content forms no cycle here. Repeated pairs are one edge and share its fate.

    Args:
        edges: pairs, every conversation whole.
        contradicted: bool (n,), where `contradicted_rows` of them are known already.
    """
    known = contradicted_rows(edges) if contradicted is None else contradicted
    usable = np.flatnonzero(~known & _may_have_cycles(edges))
    sources, targets = _nodes(edges.take(pa.array(usable)))
    components = _strong_components(sources, targets)
    found = components[sources]
    inside = found == components[targets]
    sizes = np.zeros(edges.num_rows, dtype=np.int64)
    sizes[usable[inside]] = np.bincount(components)[found[inside]]
    return sizes


def _response_key(text: str) -> int:
    encoded = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(encoded, digest_size=KEY_BYTES).digest(), "little")


def _may_have_cycles(edges: pa.Table) -> np.ndarray:
    """(n,) bool: edges of conversations with enough pairs to close a cycle; few have them."""
    # Half an id is enough here: a collision only lets more edges through.
    leading = id_keys(edges.column("conversation_id"))[:, 0]
    _, group, sizes = np.unique(leading, return_inverse=True, return_counts=True)
    return sizes[group] >= MIN_CYCLE


def _nodes(edges: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Chosen and rejected node of every edge, (n,) int64 each: a response of a conversation."""
    conversations = id_keys(edges.column("conversation_id"))
    sides = [np.asarray(edges.column(name).combine_chunks()) for name in KEY_COLUMNS]
    keys = np.concatenate([np.column_stack([conversations, side]) for side in sides])
    nodes = first_occurrences(keys)
    return nodes[: edges.num_rows], nodes[edges.num_rows :]


def _strong_components(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(m,) int64: strongly connected component of every node that an edge may name."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    num_nodes = int(max(sources.max(initial=0), targets.max(initial=0))) + 1
    edges = np.ones(len(sources), dtype=bool)
    graph = csr_array((edges, (sources, targets)), shape=(num_nodes, num_nodes))
    return connected_components(graph, connection="strong")[1].astype(np.int64)
