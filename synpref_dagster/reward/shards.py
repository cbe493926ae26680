"""Rewards of one shard, of pairs or of benchmark candidates, for `map_shards`.

The checkpoint is opened on whatever machine the shard is worked on, and kept while shards of one
model follow each other.
"""

import json
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.pairs.record import table_from_frame
from synpref_dagster.pairs.texts import UNKNOWN_LENGTH, Conversation, shard_pairs
from synpref_dagster.storage import DatasetRef, MapResult, ModelRef, ShardExecutor, map_shards

if TYPE_CHECKING:
    from synpref_dagster.reward.scoring import Scorer

SCORES_VERSION = "1"
OnChunk = Callable[[int, int], None]


def score_candidates(
    candidates: DatasetRef,
    model: ModelRef,
    *,
    uri: str,
    executor: ShardExecutor | None = None,
    on_chunk: OnChunk | None = None,
) -> MapResult:
    """Rewards of all candidates under one model; finished chunks are read, not scored again.

    Args:
        candidates: from `build_candidates`.
        model: the checkpoint.
        uri: where the rewards are kept, one folder per model size.
        executor: who scores the chunks; in this process by default.
        on_chunk: called with (chunks done, chunks in all) as chunks finish.

    Returns:
        The data set (reward, num_tokens, truncated; rows as in `candidates`) and how many chunks
        were scored and reused.
    """
    return map_shards(
        score_chunk,
        candidates,
        uri=uri,
        version=SCORES_VERSION,
        params={"model": model},
        executor=executor,
        on_progress=on_chunk,
    )


def score_chunk(table: pa.Table, *, model: ModelRef) -> pa.Table:
    """Reward (float32), num_tokens (int32, -1 unknown) and truncated (bool) of each candidate.

    Raises:
        ValueError: a reward is not finite.
    """
    conversations: list[Conversation] = [
        tuple(json.loads(text)) for text in table.column("conversation").to_pylist()
    ]
    responses: list[str] = table.column("response").to_pylist()
    scorer = opened_scorer(model)
    rewards = np.asarray(scorer.rewards(conversations, responses), dtype=np.float32)
    if not np.isfinite(rewards).all():
        raise ValueError(f"{int((~np.isfinite(rewards)).sum())} rewards are not finite")
    lengths, limit = _lengths(scorer, conversations, responses)
    return pa.table(
        {"reward": rewards, "num_tokens": lengths, "truncated": pa.array(lengths > limit)}
    )


def _lengths(
    scorer: "Scorer", conversations: list[Conversation], responses: list[str]
) -> tuple[np.ndarray, int]:
    """Tokens of each sequence, and the longest that is read whole."""
    encoder = getattr(scorer, "encoder", None)
    if encoder is None:  # a linear model reads texts of any length and has no tokens
        return np.full(len(responses), UNKNOWN_LENGTH, dtype=np.int32), np.iinfo(np.int32).max
    lengths = [len(ids) for ids in encoder.encode(conversations, responses)]
    return np.array(lengths, dtype=np.int32), int(encoder.max_length_tokens)


def open_scorer(folder: str) -> "Scorer":
    """The reward model of a checkpoint folder, on this machine's GPU if it has one to give.

    Raises:
        ValueError: this machine does not see the folder.
    """
    if not Path(folder).is_dir():
        raise ValueError(
            f"{socket.gethostname()} does not see the checkpoint {folder!r}: whoever scores needs "
            "the folder of the models, on a file system mounted at that path (docs/scale.md)"
        )
    from synpref_dagster.reward.devices import best_device
    from synpref_dagster.reward.scoring import load_reward_model

    return load_reward_model(folder, device=best_device())


@lru_cache(maxsize=2)
def opened_scorer(model: ModelRef) -> "Scorer":
    """`open_scorer`, kept: shards of one model follow each other, so it is loaded once.

    Weights that were replaced in their folder have another fingerprint, and are loaded again.
    """
    return open_scorer(model.uri)


def score_shard(table: pa.Table, texts: pa.Table, *, models: Mapping[str, ModelRef]) -> pa.Table:
    """Rewards of one shard of a pool under several models, each distinct response scored once.

    Args:
        table: with pair_id.
        texts: the raw shard that the pairs come from.
        models: by name; each gives the columns NAME_chosen, NAME_rejected, NAME_margin.
    """
    pairs = shard_pairs(table, texts)
    frame = pd.DataFrame({"pair_id": pd.Series([p.pair_id for p in pairs], dtype=object)})
    conversations = [pair.conversation for pair in pairs]
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    for name, model in models.items():
        rewards = opened_scorer(model).rewards(conversations * 2, responses)
        chosen, rejected = np.asarray(rewards[: len(pairs)]), np.asarray(rewards[len(pairs) :])
        frame[f"{name}_chosen"], frame[f"{name}_rejected"] = chosen, rejected
        frame[f"{name}_margin"] = chosen - rejected
    return table_from_frame(frame)
