"""Curated pairs of one shard: under which label each is released, and its row of the export."""

from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.release.curated_rows import decided_rows, rows_of_shard
from synpref_dagster.pairs.columns import rows_where
from synpref_dagster.pairs.ids import id_keys
from synpref_dagster.pairs.record import CONVERSATION_TYPE, ID_BYTES, table_to_pairs
from synpref_dagster.pairs.texts import shard_texts
from synpref_dagster.storage import DatasetRef, read_table

EXPORT_SCHEMA = pa.schema(
    [
        ("prompt", CONVERSATION_TYPE),
        ("chosen", CONVERSATION_TYPE),
        ("rejected", CONVERSATION_TYPE),
        ("pair_id", pa.string()),
        ("source", pa.string()),
        ("tier", pa.string()),
        ("flipped", pa.bool_()),
        ("split", pa.string()),
    ]
)


HEX_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def export_table(texts: pa.Table, rows: pd.DataFrame) -> pa.Table:
    """`EXPORT_SCHEMA`: pairs under their curated label, one row each, in order.

    Columns stay columns; only pairs that turn are made, for their new id.

    Args:
        texts: `PAIR_SCHEMA`, the pairs under their source label.
        rows: label (-1: the reverse of the source's), tier and split of each.
    """
    turned = pa.array(rows["label"].to_numpy() < 0)
    chosen, rejected = (texts[name].combine_chunks() for name in ("chosen", "rejected"))
    columns = {
        "prompt": texts["conversation"].combine_chunks().cast(CONVERSATION_TYPE),
        "chosen": _said(pc.if_else(turned, rejected, chosen)),
        "rejected": _said(pc.if_else(turned, chosen, rejected)),
        "pair_id": _released_ids(texts, turned),
        "source": texts["source"].combine_chunks(),
        "tier": pa.array(rows["tier"], pa.string()),
        "flipped": turned,
        "split": pa.array(rows["split"], pa.string()),
    }
    return pa.table(columns, schema=EXPORT_SCHEMA)


def _said(responses: pa.Array) -> pa.Array:
    """Each response as the one message of a conversation."""
    parts = [pa.repeat("assistant", len(responses)), responses]
    messages = pa.StructArray.from_arrays(parts, fields=list(CONVERSATION_TYPE.value_type))
    offsets = pa.array(np.arange(len(responses) + 1, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, messages).cast(CONVERSATION_TYPE)


def _released_ids(texts: pa.Table, turned: pa.Array) -> pa.Array:
    """The id of each pair under its curated label, in hexadecimal digits."""
    ids = id_keys(texts["pair_id"]).view(np.uint8).copy()
    places = rows_where(turned)
    flipped = [pair.flipped().pair_id for pair in table_to_pairs(texts.take(places))]
    ids[places.to_numpy()] = np.frombuffer(b"".join(flipped), np.uint8).reshape(-1, ID_BYTES)
    digits = np.stack([HEX_DIGITS[ids >> 4], HEX_DIGITS[ids & 15]], axis=-1)
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * 2 * ID_BYTES
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(digits))


def decided_shard(decided: pa.Table, *, decision: str, stage_one: DatasetRef) -> pa.Table:
    """`curated_rows.decided_rows` of one shard of the decisions.

    Args:
        decided: kept or dropped pairs of a clean shard.
        decision: which of them.
        stage_one: what stage 1 labelled.
    """
    return decided_rows(decided, _stage_one(stage_one), decision=decision)


def export_shard(  # noqa: PLR0917 - shards that go side by side
    clean: pa.Table,
    kept: pa.Table,
    flipped: pa.Table,
    texts: pa.Table,
    *,
    stage_one: DatasetRef,
) -> pa.Table:
    """The curated pairs of one clean shard with `EXPORT_SCHEMA`: those that train come first.

    Args:
        clean: a shard of the clean pool.
        kept: its pairs that train under their source label.
        flipped: its pairs that train under the opposite one.
        texts: the raw shard that it comes from.
        stage_one: what stage 1 labelled.
    """
    rows = rows_of_shard(clean, kept=kept, flipped=flipped, stage_one=_stage_one(stage_one))
    return export_table(shard_texts(clean.take(pa.array(rows["place"])), texts), rows)


@lru_cache(maxsize=1)
def _stage_one(ref: DatasetRef) -> pa.Table:
    return read_table(ref)
