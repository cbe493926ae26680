"""Curated pairs of one shard: under which label each is released, and its row of the export."""

from collections.abc import Iterable
from functools import lru_cache

import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.release.curated_rows import SPLITS, decided_rows, rows_of_shard
from synpref_dagster.pairs.record import CONVERSATION_TYPE, PreferencePair
from synpref_dagster.pairs.texts import shard_pairs
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


def export_table(pairs: Iterable[PreferencePair], origin: pd.DataFrame, *, split: str) -> pa.Table:
    """Pairs under their curated label, one row each.

    Args:
        pairs: the pairs, oriented.
        origin: content_id, tier and label (-1: the reverse of the source's) of each.
        split: `train` or `validation`.
    """
    known = {row.content_id: (row.tier, row.label < 0) for row in origin.itertuples()}
    rows = []
    for pair in pairs:
        tier, flipped = known[pair.content_id]
        rows.append(
            {
                "prompt": list(pair.conversation),
                "chosen": [{"role": "assistant", "content": pair.chosen}],
                "rejected": [{"role": "assistant", "content": pair.rejected}],
                "pair_id": pair.pair_id.hex(),
                "source": pair.source,
                "tier": tier,
                "flipped": flipped,
                "split": split,
            }
        )
    return pa.Table.from_pylist(rows, schema=EXPORT_SCHEMA)


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
    pairs = shard_pairs(clean.take(pa.array(rows["place"])), texts)
    labels = rows["label"].to_numpy()
    turned = [
        each if label > 0 else each.flipped() for each, label in zip(pairs, labels, strict=True)
    ]
    origin = rows.assign(content_id=pd.Series([each.content_id for each in pairs], dtype=object))
    parts = [EXPORT_SCHEMA.empty_table()]
    for split in SPLITS:
        of_split = origin["split"] == split
        chosen = [each for each, wanted in zip(turned, of_split, strict=True) if wanted]
        parts.append(export_table(chosen, origin[of_split], split=split))
    return pa.concat_tables(parts)


@lru_cache(maxsize=1)
def _stage_one(ref: DatasetRef) -> pa.Table:
    return read_table(ref)
