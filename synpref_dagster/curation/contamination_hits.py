"""Where pairs share a stretch with a benchmark: what each index finds in a table, and whose counts.

What one index finds depends on the texts and on its own prompts, so that it stands when other
benchmarks come, change or go. Where several benchmarks hit a pair, the first by name counts.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.decontamination import ContaminationIndex, Evidence, find_by_index
from synpref_dagster.curation.pairs import PAIR_SCHEMA

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


def find_hits(table: pa.Table, indexes: Sequence[ContaminationIndex]) -> list[pa.Table]:
    """What each index finds in the texts of pairs, in one pass over them.

    Args:
        table: columns of `PAIR_SCHEMA`.
        indexes: of one configuration, for instance one per benchmark.

    Returns:
        Per index `HIT_SCHEMA`: the first stretch found in each field of each pair, by row and
        field.
    """
    found: list[dict[tuple[int, int], Evidence]] = [{} for _ in indexes]
    scope = indexes[0].config.scope if indexes else "first_turn"
    start = 0
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        for field, texts, rows in _texts(batch, scope):
            whole_prompts = FIELDS[field] == "conversation"
            by_index = find_by_index(indexes, texts, whole_prompts=whole_prompts)
            for hits, of_index in zip(found, by_index, strict=True):
                for text in sorted(of_index):
                    hits.setdefault((start + int(rows[text]), field), of_index[text])
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


def _hit_table(table: pa.Table, hits: dict[tuple[int, int], Evidence]) -> pa.Table:
    places = sorted(hits)
    rows = pa.array([row for row, _ in places], pa.int64())
    columns = {
        "row": rows,
        "pair_id": table["pair_id"].combine_chunks().take(rows),
        "field": [FIELDS[field] for _, field in places],
    }
    for name in ("benchmark", "item_id", "gram", "rule"):
        columns[name] = [getattr(hits[place], name) for place in places]
    return pa.table(columns, schema=HIT_SCHEMA)


def _texts(batch: pa.RecordBatch, scope: str) -> Iterator[tuple[int, list[str], np.ndarray]]:
    """(number of the field, its texts, the row of each text) for everything the scope compares."""
    conversations = batch.column("conversation")
    turns = conversations.flatten()
    rows = np.asarray(pc.list_parent_indices(conversations))
    contents = turns.field("content")
    if scope == "first_turn":
        of_user = np.flatnonzero(np.asarray(pc.equal(turns.field("role"), "user")))
        first_rows, first = np.unique(rows[of_user], return_index=True)
        yield 0, contents.take(pa.array(of_user[first])).to_pylist(), first_rows
        return
    yield 0, contents.to_pylist(), rows
    for field in (1, 2):
        yield field, batch.column(FIELDS[field]).to_pylist(), np.arange(batch.num_rows)
