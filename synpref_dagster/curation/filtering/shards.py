"""Stage 2 on one shard: which pairs go to the judges, and each pair's decision."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa

from synpref_dagster.curation.filtering.content_labels import ContentLabels
from synpref_dagster.curation.filtering.relabelling import pairs_to_relabel
from synpref_dagster.curation.filtering.score_columns import decide_clean_shard
from synpref_dagster.storage import DatasetRef, read_table


def decide_shard(
    clean: pa.Table,
    rewards: pa.Table,
    attributes: pa.Table,
    *,
    guard: Mapping[str, Any],
    labels: Mapping[str, DatasetRef],
) -> dict[str, pa.Table]:
    """`score_columns.decide_clean_shard`.

    Args:
        clean: a shard of the clean pool.
        rewards: those of its pairs.
        attributes: those of its pairs that have any.
        guard: how sure a flip must be, and what is recycled.
        labels: by `judged` and `people`, who gave them.
    """
    return decide_clean_shard(
        clean,
        rewards,
        attributes,
        judged=read_labels(labels["judged"]),
        people=read_labels(labels["people"]),
        guard=guard,
    )


@lru_cache(maxsize=2)
def read_labels(ref: DatasetRef) -> ContentLabels:
    """Labels by content; kept, since shards of one campaign follow each other."""
    return ContentLabels.from_table(read_table(ref))


def candidate_shard(
    clean: pa.Table, rewards: pa.Table, *, labelled: DatasetRef, unsure_band: float
) -> pa.Table:
    """`relabelling.pairs_to_relabel` of one shard of the clean pool.

    Args:
        clean: a shard of the clean pool.
        rewards: those of its pairs.
        labelled: the contents that stage 1 labelled.
        unsure_band: also ask where p <= 0.5 + this.
    """
    return pairs_to_relabel(clean, rewards, labelled=read_labels(labelled), unsure_band=unsure_band)
