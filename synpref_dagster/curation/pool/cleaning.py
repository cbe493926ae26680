"""Structural check, exact deduplication and contradictions (App. D.1, steps 1 and 2).

Every function here splits its input into kept and dropped rows, dropped with a reason code; no row
is changed and none vanishes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from synpref_dagster.pairs.ids import first_occurrences, id_keys
from synpref_dagster.pairs.structure import MAX_TEXT_BYTES, structural_reasons


class Selection(NamedTuple):
    """Outcome of a selection over a table: every input row is in exactly one of the two."""

    kept: pa.Table
    dropped: pa.Table


def check_structure(table: pa.Table, *, max_text_bytes: int = MAX_TEXT_BYTES) -> Selection:
    """Splits a table with `PAIR_SCHEMA` into sound pairs and dropped ones with a reason.

    `detail` of a dropped row lists all its reasons when there are several.
    """
    columns = [table.column(name).to_pylist() for name in ("conversation", "chosen", "rejected")]
    found = [
        structural_reasons(conversation, chosen, rejected, max_text_bytes=max_text_bytes)
        for conversation, chosen, rejected in zip(*columns, strict=True)
    ]
    keep = np.array([not reasons for reasons in found], dtype=bool)
    against = [reasons for reasons in found if reasons]
    return select(
        table,
        keep,
        reasons=[reasons[0] for reasons in against],
        details=["; ".join(reasons[1:]) for reasons in against],
    )


def select(
    table: pa.Table,
    keep: np.ndarray,
    *,
    reasons: Sequence[str] | pa.Array | str,
    details: Sequence[str] | pa.Array | str = "",
) -> Selection:
    """Splits a table by a bool mask; dropped rows get the columns `reason` and `detail`.

    `reasons` and `details` are one text for all dropped rows or one per dropped row, in order.
    """
    dropped = table.filter(pa.array(~keep))
    for name, texts in (("reason", reasons), ("detail", details)):
        if isinstance(texts, str):
            texts = pa.repeat(texts, dropped.num_rows)
        column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
        dropped = dropped.append_column(name, column)
    return Selection(table.filter(pa.array(keep)), dropped)


def first_copies(table: pa.Table) -> np.ndarray:
    """(n,) int64: row with the first copy of each pair, which exact deduplication keeps.

    Needs the column `pair_id` only. Raises ValueError when an id is null.
    """
    return first_occurrences(id_keys(table.column("pair_id")))


def contradicted_rows(table: pa.Table) -> np.ndarray:
    """(n,) bool: whether the row's content occurs under both labels.

    A over B here, B over A elsewhere. Needs the columns `pair_id` and `content_id`.
    """
    first_content = first_occurrences(id_keys(table.column("content_id")))
    first_pair = first_occurrences(id_keys(table.column("pair_id")))
    # A content has one pair_id per label: a pair_id other than its first row's is the flip.
    flips = first_pair != first_pair[first_content]
    contradicted = np.zeros(len(flips), dtype=bool)
    contradicted[first_content[flips]] = True
    return contradicted[first_content]
