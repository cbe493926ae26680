"""Preference cycles: labels of one conversation that no ranking of its responses can satisfy.

A > B, B > C and C > A cannot all be right. Every pair of a conversation is an edge from its chosen
to its rejected response; edges inside a strongly connected component lie on a cycle. Contradictory
labels of one pair (A > B and B > A) are left to `cleaning.contradicted_rows`.
"""

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.cleaning import (
    Selection,
    contradicted_rows,
    first_occurrences,
    id_keys,
    select,
)

PEELING_PASSES = 50
MIN_CYCLE = 3
KEY_BYTES = 8
"""A response is told from the others of its conversation by so many bytes."""
EDGE_COLUMNS = ("pair_id", "content_id", "conversation_id")
KEY_COLUMNS = ("chosen_key", "rejected_key")


def response_edges(table: pa.Table) -> pa.Table:
    """Narrow table of ids for `find_preference_cycles`, shard by shard.

    Takes `PAIR_SCHEMA`; gives its three ids plus `chosen_key` and `rejected_key` (uint64).
    """
    return with_response_keys(table).select([*EDGE_COLUMNS, *KEY_COLUMNS])


def with_response_keys(table: pa.Table) -> pa.Table:
    """The table with `chosen_key` and `rejected_key`, which tell responses of one conversation."""
    for side, key in zip(("chosen", "rejected"), KEY_COLUMNS, strict=True):
        texts = table.column(side).to_pylist()
        table = table.append_column(key, pa.array(map(_response_key, texts), pa.uint64()))
    return table


def find_preference_cycles(edges: pa.Table) -> Selection:
    """Splits edges of `response_edges` into those on no cycle and those on one.

    No filter: with many pairs per conversation and noisy labels one component swallows nearly all
    of them. Rows on a cycle come back as dropped, with reason `preference_cycle` and the number of
    responses in `detail`.
    """
    sizes = cycle_sizes(edges)
    details = [f"cycle among {size} responses" for size in sizes[sizes > 0].tolist()]
    return select(edges, sizes == 0, reasons="preference_cycle", details=details)


def cycle_sizes(edges: pa.Table) -> np.ndarray:
    """(n,) int64: number of responses of the cycles that an edge lies on, 0 for none.

    Cycles that share a response count as one. Contradicted content forms no cycle here. Repeated
    pairs are one edge and share its fate.
    """
    usable = np.flatnonzero(~contradicted_rows(edges) & _may_have_cycles(edges))
    sources, targets = _nodes(edges.take(pa.array(usable)))
    found = _cycle_of_edges(sources, targets)
    inside = found >= 0
    num_responses = np.bincount(_distinct_members(found[inside], sources[inside]))
    sizes = np.zeros(edges.num_rows, dtype=np.int64)
    sizes[usable[inside]] = num_responses[found[inside]]
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


def _cycle_of_edges(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(n,) int64: name of the strongly connected component an edge lies in, -1 for none."""
    edges = _peeled(sources, targets)
    successors: dict[int, list[int]] = {}
    for source, target in zip(sources[edges].tolist(), targets[edges].tolist(), strict=True):
        successors.setdefault(source, []).append(target)
    components = _strong_components(successors)
    found = np.full(len(sources), -1, dtype=np.int64)
    for edge in edges.tolist():
        component = components[int(sources[edge])]
        if component == components[int(targets[edge])]:
            found[edge] = component
    return found


def _peeled(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Indices of the edges that are left when edges from unbeaten and to unbeating nodes go.

    What peels off cannot lie on a cycle; nearly everything does, in a few passes over arrays.
    """
    num_nodes = int(max(sources.max(initial=-1), targets.max(initial=-1))) + 1
    edges = np.arange(len(sources))
    for _ in range(PEELING_PASSES):
        is_source = np.zeros(num_nodes, dtype=bool)
        is_target = np.zeros(num_nodes, dtype=bool)
        is_source[sources[edges]] = True
        is_target[targets[edges]] = True
        inner = edges[is_target[sources[edges]] & is_source[targets[edges]]]
        if len(inner) == len(edges):
            break
        edges = inner
    return edges


def _strong_components(successors: dict[int, list[int]]) -> dict[int, int]:
    """Tarjan's algorithm without recursion: node -> the node that names its component."""
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    component: dict[int, int] = {}
    open_nodes: list[int] = []
    work: list[tuple[int, Iterator[int]]] = []

    def enter(node: int) -> None:
        order[node] = lowest[node] = len(order)
        open_nodes.append(node)
        work.append((node, iter(successors.get(node, ()))))

    for root in successors:
        if root not in order:
            enter(root)
        while work:
            node, rest = work[-1]
            follower = next((next_node for next_node in rest if next_node not in component), None)
            if follower is not None and follower not in order:
                enter(follower)
            elif follower is not None:
                lowest[node] = min(lowest[node], order[follower])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    lowest[parent] = min(lowest[parent], lowest[node])
                if lowest[node] == order[node]:
                    _close(node, open_nodes, component)
    return component


def _close(node: int, open_nodes: list[int], component: dict[int, int]) -> None:
    while node not in component:
        component[open_nodes.pop()] = node


def _distinct_members(component: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Component of every distinct (component, source): on a cycle every response is a source."""
    return np.unique(np.stack([component, sources], axis=1), axis=0)[:, 0]
