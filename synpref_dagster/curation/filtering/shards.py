"""Stage 2 in the shards of the pool: which pairs are judged again, what becomes of each."""

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
    labels: Mapping[str, str],
    labels_at: Mapping[str, DatasetRef],
) -> dict[str, pa.Table]:
    """`filter_shards.decide_clean_shard`.

    Args:
        clean: a shard of the clean pool.
        rewards: those of its pairs.
        attributes: those of its pairs that have any.
        guard: how sure a flip must be, and what is recycled.
        labels: fingerprints of the labels by `judged` and `people`; they identify the work.
        labels_at: where these labels lie.

    Raises:
        ValueError: the references name other labels than the fingerprints.
    """
    if dict(labels) != {name: ref.fingerprint for name, ref in labels_at.items()}:
        raise ValueError(f"labels {dict(labels)} asked for, but others given: {dict(labels_at)}")
    return decide_clean_shard(
        clean,
        rewards,
        attributes,
        judged=read_labels(labels_at["judged"]),
        people=read_labels(labels_at["people"]),
        guard=guard,
    )


@lru_cache(maxsize=2)
def read_labels(ref: DatasetRef) -> ContentLabels:
    """Labels by content; kept, since shards of one campaign follow each other."""
    return ContentLabels.from_table(read_table(ref))


def candidate_shard(
    clean: pa.Table,
    rewards: pa.Table,
    *,
    labelled: str,
    labelled_at: DatasetRef,
    unsure_band: float,
) -> pa.Table:
    """`relabelling.pairs_to_relabel` of one shard of the clean pool.

    Args:
        clean: a shard of the clean pool.
        rewards: those of its pairs.
        labelled: fingerprint of the contents that stage 1 labelled, part of what identifies work.
        labelled_at: where they lie.
        unsure_band: also ask where p <= 0.5 + this.

    Raises:
        ValueError: the reference names other contents than the fingerprint.
    """
    if labelled != labelled_at.fingerprint:
        raise ValueError(f"labels {labelled_at.fingerprint} given, but {labelled} asked for")
    return pairs_to_relabel(
        clean, rewards, labelled=read_labels(labelled_at), unsure_band=unsure_band
    )
