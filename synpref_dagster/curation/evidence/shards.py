"""The counts of every source over the shards of a pool: known shards are not counted again."""

from functools import partial

import pyarrow as pa

from synpref_dagster.curation.evidence.source_counts import (
    count_decided,
    count_lengths,
    response_signs,
)
from synpref_dagster.curation.filtering.shards import read_labels
from synpref_dagster.storage import DatasetRef, SelectionRef, ShardExecutor, map_shards

VERSION = "1"


def pool_signs(raw: DatasetRef, *, uri: str, executor: ShardExecutor | None = None) -> DatasetRef:
    """`source_counts.response_signs` of the raw pool: the only look at texts, once per shard."""
    return map_shards(response_signs, raw, uri=uri, version=VERSION, executor=executor).ref


def pool_lengths(
    clean: DatasetRef, signs: DatasetRef, *, uri: str, executor: ShardExecutor | None = None
) -> DatasetRef:
    """`source_counts.count_lengths` of the clean pool.

    Args:
        clean: `CLEAN_SCHEMA`.
        signs: from `pool_signs` of the raw pool that it was made from.
        uri: where the counts go.
        executor: in this process by default.
    """
    return map_shards(
        count_lengths, clean, beside=[signs], uri=uri, version=VERSION, executor=executor
    ).ref


def decided_counts(
    subset: SelectionRef,
    *,
    attributes: DatasetRef,
    signs: DatasetRef,
    votes: DatasetRef,
    uri: str,
    executor: ShardExecutor | None = None,
) -> DatasetRef:
    """`source_counts.count_decided` of the decided pool.

    Args:
        subset: kept and dropped pairs, one shard per shard of the clean pool.
        attributes: those of stage 1, one shard per shard of the clean pool.
        signs: from `pool_signs`.
        votes: from `source_counts.vote_majorities`.
        uri: where the counts go.
        executor: in this process by default.
    """
    return map_shards(
        partial(decided_shard, votes=votes),
        subset.kept,
        beside=[subset.dropped, attributes, signs],
        uri=uri,
        version=VERSION,
        identified_by={"votes": votes.fingerprint},
        executor=executor,
    ).ref


def decided_shard(
    kept: pa.Table, dropped: pa.Table, *about: pa.Table, votes: DatasetRef
) -> pa.Table:
    """`source_counts.count_decided` of one shard.

    Args:
        kept: kept pairs of the shard.
        dropped: its flipped and discarded ones.
        about: the attributes of those of its pairs that have any, and the signs of its raw pairs.
        votes: what recorded votes say of contents.
    """
    attributes, signs = about
    decided = pa.concat_tables([kept, dropped])
    return count_decided(decided, attributes=attributes, signs=signs, votes=read_labels(votes))
