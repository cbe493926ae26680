"""The score table of one model, in chunks that are kept as they finish.

Every distinct (conversation, response) of all benchmarks is one row of a data set of texts. Scoring
maps over its shards: a killed run scores none of the finished ones again, and a new model scores
everything once.
"""

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.benchmarks.items import (
    UNKNOWN_LENGTH,
    BenchmarkItem,
    Conversation,
    distinct_candidates,
    spread_scores,
)
from synpref_dagster.resources.checkpoint_scorer import opened_scorer
from synpref_dagster.reward.scoring import Scorer
from synpref_dagster.storage import (
    DatasetRef,
    MapResult,
    ModelRef,
    ShardExecutor,
    build_dataset,
    map_shards,
    read_frame,
    step_key,
)

CHUNK_CANDIDATES = 2_048
CANDIDATES_VERSION = "1"
SCORES_VERSION = "1"

OnChunk = Callable[[int, int], None]


def build_candidates(
    items: Sequence[BenchmarkItem], *, uri: str, suite: str, chunk: int = CHUNK_CANDIDATES
) -> DatasetRef:
    """The distinct candidates of the items as a data set, `chunk` rows to a shard.

    Args:
        items: items of any number of benchmarks.
        uri: where it is kept.
        suite: fingerprint of the benchmarks; the same one finds the finished data set.
        chunk: candidates scored between two points at which a killed run can continue.
    """
    step = step_key(version=CANDIDATES_VERSION, inputs=[suite], params={"chunk": chunk})
    return build_dataset(uri, step=step, compute=lambda: _tables(items, chunk))


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


def full_score_table(items: Sequence[BenchmarkItem], scores: DatasetRef) -> pd.DataFrame:
    """The score table (`SCORE_COLUMNS`) of the items from the scores of their candidates."""
    return spread_scores(items, read_frame(scores))


def score_chunk(table: pa.Table, *, model: ModelRef) -> pa.Table:
    """Reward (float32), num_tokens (int32, -1 unknown) and truncated (bool) of each candidate.

    Raises:
        ValueError: a reward is not finite.
    """
    conversations: list[Conversation] = [
        tuple(json.loads(text)) for text in table.column("conversation").to_pylist()
    ]
    responses: list[str] = table.column("response").to_pylist()
    scorer = opened_scorer(model.uri, model.fingerprint)
    rewards = np.asarray(scorer.rewards(conversations, responses), dtype=np.float32)
    if not np.isfinite(rewards).all():
        raise ValueError(f"{int((~np.isfinite(rewards)).sum())} rewards are not finite")
    lengths, limit = _lengths(scorer, conversations, responses)
    return pa.table(
        {"reward": rewards, "num_tokens": lengths, "truncated": pa.array(lengths > limit)}
    )


def _lengths(
    scorer: Scorer, conversations: list[Conversation], responses: list[str]
) -> tuple[np.ndarray, int]:
    """Tokens of each sequence, and the longest that is read whole."""
    encoder = getattr(scorer, "encoder", None)
    if encoder is None:  # a linear model reads texts of any length and has no tokens
        return np.full(len(responses), UNKNOWN_LENGTH, dtype=np.int32), np.iinfo(np.int32).max
    lengths = [len(ids) for ids in encoder.encode(conversations, responses)]
    return np.array(lengths, dtype=np.int32), int(encoder.max_length_tokens)


def _tables(items: Sequence[BenchmarkItem], chunk: int) -> Iterator[pa.Table]:
    distinct = distinct_candidates(items)
    for start in range(0, max(len(distinct), 1), chunk):
        rows = distinct[start : start + chunk]
        texts = [json.dumps(list(turns), ensure_ascii=False) for turns, _ in rows]
        responses = [response for _, response in rows]
        yield pa.table(
            {
                "conversation": pa.array(texts, pa.string()),
                "response": pa.array(responses, pa.string()),
            }
        )
