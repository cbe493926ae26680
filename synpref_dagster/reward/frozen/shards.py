"""Reading one shard of a pool with a frozen backbone, for `map_shards`."""

from pathlib import Path

import pyarrow as pa

from synpref_dagster.pairs.record import id_array
from synpref_dagster.pairs.texts import shard_pairs
from synpref_dagster.reward.devices import best_device
from synpref_dagster.reward.frozen.reading import Reading, opened_reader
from synpref_dagster.reward.frozen.store import response_keys


def read_shard(table: pa.Table, texts: pa.Table, *, reading: Reading, home: Path) -> pa.Table:
    """Which features belong to each pair; the features go to the store beside the models.

    Args:
        table: with pair_id.
        texts: the raw shard that the pairs come from.
        reading: the backbone, and how it is read.
        home: the campaign's folder.

    Returns:
        pair_id, chosen_key, rejected_key (16 bytes each).
    """
    pairs = shard_pairs(table, texts)
    reader = opened_reader(reading, home, keeps=True, device=best_device())
    conversations = [pair.conversation for pair in pairs]
    chosen, rejected = ([getattr(p, side) for p in pairs] for side in ("chosen", "rejected"))
    reader.read(conversations * 2, [*chosen, *rejected])
    return pa.table(
        {
            "pair_id": id_array([pair.pair_id for pair in pairs]),
            "chosen_key": pa.array(response_keys(conversations, chosen), pa.binary(16)),
            "rejected_key": pa.array(response_keys(conversations, rejected), pa.binary(16)),
        }
    )
