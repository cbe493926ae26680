"""The distinct candidates of all benchmarks as one data set of texts, `CHUNK_CANDIDATES` a shard.

Scoring maps over its shards: a killed run scores none of the finished ones again, and a new model
scores everything once.
"""

import json
from collections.abc import Iterator, Sequence

import pandas as pd
import pyarrow as pa

from synpref_dagster.benchmarks.items import BenchmarkItem, distinct_candidates, spread_scores
from synpref_dagster.storage import DatasetRef, build_dataset, read_frame, step_key

CHUNK_CANDIDATES = 2_048
CANDIDATES_VERSION = "1"


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


def full_score_table(items: Sequence[BenchmarkItem], scores: DatasetRef) -> pd.DataFrame:
    """The score table (`SCORE_COLUMNS`) of the items from the scores of their candidates."""
    return spread_scores(items, read_frame(scores))


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
