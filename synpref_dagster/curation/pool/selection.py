"""The clean pool from what is known about each pair: kept, or dropped with its reason (App. D.1).

A shard is selected by its own screening and by its marks (`marks`); nothing else is looked at,
so that a shard whose marks stay as they are is never selected again.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.pool.marks import CONTRADICTION, CYCLE, RISKS
from synpref_dagster.pairs.columns import from_numbers, rows_where, to_numbers
from synpref_dagster.pairs.record import ID_TYPE
from synpref_dagster.pairs.structure import STRUCTURAL_REASONS

PERSONAL_DATA = "pii"
DUPLICATE = "duplicate"
EVIDENCE_COLUMNS = ["benchmark", "item_id", "gram", "rule"]
CLEAN_SCHEMA = pa.schema(
    [
        *((name, ID_TYPE) for name in ("pair_id", "content_id", "conversation_id")),
        ("source", pa.string()),
        ("origin", pa.string()),
        ("risky", pa.bool_()),
        ("risk", pa.string()),
    ]
)
DROPPED_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        ("content_id", ID_TYPE),
        *((name, pa.string()) for name in ("source", "reason", "detail", *EVIDENCE_COLUMNS)),
    ]
)
TALLY_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("origin", pa.string()),
        ("kept", pa.bool_()),
        ("why", pa.string()),
        ("num_pairs", pa.int64()),
    ]
)
"""`why`: risk of kept pairs, reason of dropped ones."""
CLEAN_COLUMNS, DROPPED_COLUMNS = CLEAN_SCHEMA.names, DROPPED_SCHEMA.names
POOL_COLUMNS = ["pair_id", "content_id", "conversation_id", "source", "risky"]
"""What the pools of the two stages keep of a clean pair."""


def select_clean(screened: pa.Table, marks: pa.Table) -> dict[str, pa.Table]:
    """One shard of the clean pool.

    Args:
        screened: `SCREENED_SCHEMA`.
        marks: `MARK_SCHEMA`, what the other pairs of the pool say about this shard's.

    Returns:
        "kept" with `CLEAN_SCHEMA` and "dropped" with `DROPPED_SCHEMA`, in the order of the shard;
        "tally" with `TALLY_SCHEMA`, whose numbers add up to the rows of the shard.
    """
    first_places, risks = _spread(marks, screened.num_rows)
    repeated = _repeated(screened, first_places)
    reasons = pc.if_else(repeated, DUPLICATE, screened["screen_reason"].combine_chunks())
    keep = pc.is_null(reasons)
    kept = _kept(screened, keep, risks)
    left = _left(screened.append_column("reason", reasons), repeated, first_places)
    return {
        "kept": kept,
        "dropped": left.select(DROPPED_COLUMNS).cast(DROPPED_SCHEMA),
        "tally": pa.concat_tables(
            [_tally(kept, "risk", kept=True), _tally(left, "reason", kept=False)]
        ),
    }


def with_personal_data(screened: pa.Table, found: dict[bytes, str]) -> pa.Table:
    """The screening with what was found of personal data; an earlier reason stands.

    Args:
        screened: `SCREENED_SCHEMA`.
        found: pair_id -> what was found, for pairs to drop on that account.
    """
    ids = screened.column("pair_id").combine_chunks().storage.to_pylist()
    against = screened.column("screen_reason").to_pylist()
    details = screened.column("screen_detail").to_pylist()
    for row, pair_id in enumerate(ids):
        if against[row] is None and pair_id in found:
            against[row], details[row] = PERSONAL_DATA, found[pair_id]
    for name, texts in (("screen_reason", against), ("screen_detail", details)):
        place, field = screened.schema.get_field_index(name), screened.schema.field(name)
        screened = screened.set_column(place, field, pa.array(texts, pa.string()))
    return screened


def dropped_by_reason(tally: pd.DataFrame) -> dict[str, int]:
    """Number of dropped pairs per reason, most frequent first."""
    counts = tally[~tally["kept"].astype(bool)].groupby("why")["num_pairs"].sum()
    ordered = counts.sort_values(ascending=False, kind="stable")
    return {str(reason): int(count) for reason, count in ordered.items()}


def risk_counts(tally: pd.DataFrame) -> dict[str, int]:
    """Number of kept pairs with each risk, and with one that makes them risky."""
    counts = tally[tally["kept"].astype(bool)].groupby("why")["num_pairs"].sum()
    found: dict[str, Any] = {risk: int(counts.get(risk, 0)) for risk in RISKS if risk}
    risky = found[CONTRADICTION] + found[CYCLE]
    return {"num_risky": risky, **{f"num_{risk}": count for risk, count in found.items()}}


def _spread(marks: pa.Table, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """First places int64 (n,), -1 for none, and risks int8 (n,), of all rows of a shard."""
    rows = to_numbers(marks.column("row"), null=-1)
    first_places, risks = np.full(num_rows, -1, dtype=np.int64), np.zeros(num_rows, dtype=np.int8)
    first_places[rows] = to_numbers(marks.column("first_place"), null=-1)
    risks[rows] = to_numbers(marks.column("risk"), null=0)
    return first_places, risks


def _repeated(screened: pa.Table, first_places: np.ndarray) -> pa.Array:
    """Which rows repeat a pair: reasons go in the order structure, repetition, all else."""
    structural = pc.is_in(screened["screen_reason"].combine_chunks(), pa.array(STRUCTURAL_REASONS))
    return pc.and_(pa.array(first_places >= 0), pc.invert(structural))


def _kept(screened: pa.Table, keep: pa.Array, risks: np.ndarray) -> pa.Table:
    """`CLEAN_SCHEMA` of the rows to keep; nothing is worked out for the others."""
    risk = _texts(from_numbers(risks).filter(keep), RISKS)
    risky = pc.is_in(risk, pa.array([CONTRADICTION, CYCLE]))
    known = screened.select([name for name in CLEAN_COLUMNS if name in screened.column_names])
    kept = known.filter(keep).append_column("risk", risk).append_column("risky", risky)
    return kept.select(CLEAN_COLUMNS).cast(CLEAN_SCHEMA)


def _left(about: pa.Table, repeated: pa.Array, first_places: np.ndarray) -> pa.Table:
    """The rows with a reason, and its detail; nothing is worked out for the others."""
    rows = rows_where(pc.is_valid(about["reason"]))
    left, repeated = about.take(rows), repeated.take(rows)
    places = pc.cast(from_numbers(first_places).take(rows), pa.string())
    where = pc.binary_join_element_wise("row", places, " ")
    left = left.append_column(
        "detail", pc.if_else(repeated, where, left["screen_detail"].combine_chunks())
    )
    for name in EVIDENCE_COLUMNS:
        place = left.schema.get_field_index(name)
        left = left.set_column(place, name, pc.fill_null(left[name], ""))
    return left


def _texts(codes: pa.Array, names: tuple[str, ...]) -> pa.Array:
    return pc.take(pa.array(names, pa.string()), codes)


def _tally(part: pa.Table, why: str, *, kept: bool) -> pa.Table:
    counts = part.group_by(["source", "origin", why], use_threads=False).aggregate(
        [([], "count_all")]
    )
    columns = [
        counts["source"],
        counts["origin"],
        pa.repeat(kept, counts.num_rows),
        counts[why],
        counts["count_all"],
    ]
    return pa.Table.from_arrays(columns, names=TALLY_SCHEMA.names).cast(TALLY_SCHEMA)
