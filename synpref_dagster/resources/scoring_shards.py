"""Rewards of one shard of the pool, for `map_shards`; the only shard work that needs torch."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.pairs import table_from_frame
from synpref_dagster.resources.checkpoint_scorer import opened_scorer
from synpref_dagster.resources.pool_shards import shard_pairs


def score_shard(
    table: pa.Table,
    texts: pa.Table,
    *,
    models: Mapping[str, str],
    folders: Mapping[str, str],
) -> pa.Table:
    """Rewards of one shard of a pool under several models, each distinct response scored once.

    Args:
        table: with pair_id.
        texts: the raw shard that the pairs come from.
        models: name -> fingerprint; gives the columns NAME_chosen, NAME_rejected, NAME_margin.
        folders: name -> folder of the checkpoint.
    """
    pairs = shard_pairs(table, texts)
    frame = pd.DataFrame({"pair_id": pd.Series([p.pair_id for p in pairs], dtype=object)})
    conversations = [pair.conversation for pair in pairs]
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    for name, model in models.items():
        rewards = opened_scorer(folders[name], model).rewards(conversations * 2, responses)
        chosen, rejected = np.asarray(rewards[: len(pairs)]), np.asarray(rewards[len(pairs) :])
        frame[f"{name}_chosen"], frame[f"{name}_rejected"] = chosen, rejected
        frame[f"{name}_margin"] = chosen - rejected
    return table_from_frame(frame)
