"""All hits of each benchmark index in a table, and the one that is reported per pair.

What one index finds depends on the texts and on its own prompts, so that it stands when other
benchmarks come, change or go. Where several benchmarks hit a pair, the first by name counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.contamination.rules import (
    ContaminationIndex,
    SharedGram,
    find_by_index,
)
from synpref_dagster.pairs.record import PAIR_SCHEMA

BATCH_ROWS = 10_000
"""Pairs whose texts are taken out of a table at a time."""
FIELDS = ("conversation", "chosen", "rejected")
HIT_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        PAIR_SCHEMA.field("pair_id"),
        *((name, pa.string()) for name in ("field", "benchmark", "item_id", "gram", "rule")),
    ]
)
"""`row`: of the table that was looked at; `field`: which of `FIELDS` shares `gram`."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts of one field that are compared together."""

    field: int
    texts: list[str]
    rows: np.ndarray
    """The row of each text."""
    turns: np.ndarray
    """The place of each text among those of its field: of a row, the first one found counts."""
    of_user: bool
    """Whether they can be a short prompt as a whole; what a model says cannot."""


def find_hits(table: pa.Table, indexes: Sequence[ContaminationIndex]) -> list[pa.Table]:
    """What each index finds in the texts of pairs, in one pass over them.

    Args:
        table: columns of `PAIR_SCHEMA`.
        indexes: of one configuration, for instance one per benchmark.

    Returns:
        Per index `HIT_SCHEMA`: the first stretch found in each field of each pair, by row and
        field.
    """
    found: list[dict[tuple[int, int, int], SharedGram]] = [{} for _ in indexes]
    scope = indexes[0].config.scope if indexes else "first_turn"
    start = 0
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        for part in _texts(batch, scope):
            by_index = find_by_index(indexes, part.texts, whole_prompts=part.of_user)
            for hits, of_index in zip(found, by_index, strict=True):
                for text, evidence in of_index.items():
                    row = start + int(part.rows[text])
                    hits[row, part.field, int(part.turns[text])] = evidence
        start += batch.num_rows
    return [_hit_table(table, hits) for hits in found]


def first_hits(hits: Sequence[pa.Table]) -> pa.Table:
    """`HIT_SCHEMA` with one hit per row, by row: that of the first benchmark by name.

    Args:
        hits: what `find_hits` found for each benchmark, in any order.
    """
    together = pa.concat_tables([HIT_SCHEMA.empty_table(), *hits])
    together = together.sort_by([("row", "ascending"), ("benchmark", "ascending")])
    _, first = np.unique(together["row"].to_numpy(), return_index=True)
    return together.take(pa.array(first))


def _hit_table(table: pa.Table, hits: dict[tuple[int, int, int], SharedGram]) -> pa.Table:
    first: dict[tuple[int, int], SharedGram] = {}
    for row, field, turn in sorted(hits):
        first.setdefault((row, field), hits[row, field, turn])
    rows = pa.array([row for row, _ in first], pa.int64())
    columns = {
        "row": rows,
        "pair_id": table["pair_id"].combine_chunks().take(rows),
        "field": [FIELDS[field] for _, field in first],
    }
    for name in ("benchmark", "item_id", "gram", "rule"):
        columns[name] = [getattr(evidence, name) for evidence in first.values()]
    return pa.table(columns, schema=HIT_SCHEMA)


def _texts(batch: pa.RecordBatch, scope: str) -> Iterator[_Texts]:
    """Everything the scope compares."""
    conversations = batch.column("conversation")
    turns = conversations.flatten()
    rows = np.asarray(pc.list_parent_indices(conversations))
    contents = turns.field("content")
    is_user = np.asarray(pc.fill_null(pc.equal(turns.field("role"), "user"), False))
    of_user = np.flatnonzero(is_user)
    if scope == "first_turn":
        first_rows, first = np.unique(rows[of_user], return_index=True)
        places = of_user[first]
        yield _Texts(0, contents.take(pa.array(places)).to_pylist(), first_rows, places, True)
        return
    for places, said_by_user in ((of_user, True), (np.flatnonzero(~is_user), False)):
        texts = contents.take(pa.array(places)).to_pylist()
        yield _Texts(0, texts, rows[places], places, said_by_user)
    responses = np.arange(batch.num_rows)
    for field in (1, 2):
        texts = batch.column(FIELDS[field]).to_pylist()
        yield _Texts(field, texts, responses, np.zeros_like(responses), False)
