"""Box 1 in the shards of the pool: screening, and its revision by judges or personal data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.contamination.recheck import cleared_pairs, with_cleared
from synpref_dagster.curation.contamination.rules import DecontaminationConfig
from synpref_dagster.curation.contamination.shards import look_for_benchmarks
from synpref_dagster.curation.personal_data.report import pairs_to_drop
from synpref_dagster.curation.pool.screening import screen_contamination, screen_structure
from synpref_dagster.curation.pool.selection import with_personal_data
from synpref_dagster.pairs.record import ID_BYTES
from synpref_dagster.storage import (
    DatasetRef,
    MapResult,
    ShardExecutor,
    VariantsResult,
    map_shards,
    read_frame,
    to_frame,
)

VERSION = "2"


def revise_screening(
    screened: DatasetRef,
    *,
    hits: DatasetRef | None,
    personal_data: DatasetRef | None,
    uri: str,
    drop_level: int,
    executor: ShardExecutor | None = None,
) -> DatasetRef:
    """A screened pool under what was found since: cleared of a hit, or with personal data.

    Args:
        screened: `SCREENED_SCHEMA`.
        hits: the judges' look at contamination hits; None without one.
        personal_data: the pairs of the personal-data report, one shard per shard of `screened`;
            None where nobody is dropped on that account. Without either the screening stands.
        uri: where the outcome goes.
        drop_level: level of personal data from which pairs are dropped.
        executor: in this process by default.
    """
    if hits is None and personal_data is None:
        return screened
    return map_shards(
        partial(revised_shard, hits=hits),
        screened,
        beside=[personal_data] if personal_data else [],
        uri=uri,
        version=VERSION,
        params={"drop_level": drop_level},
        identified_by={"hits": hits.fingerprint if hits else None},
        executor=executor,
    ).ref


def revised_shard(
    screened: pa.Table, *personal_data: pa.Table, hits: DatasetRef | None, drop_level: int
) -> pa.Table:
    """`revise_screening` of one shard.

    Args:
        screened: `SCREENED_SCHEMA`.
        personal_data: at most one table: the reported pairs of the shard.
        hits: the judges' look at contamination hits; None without one.
        drop_level: level of personal data from which pairs are dropped.
    """
    if hits is not None:
        screened = with_cleared(screened, _cleared(hits))
    for pairs in personal_data:
        screened = with_personal_data(screened, pairs_to_drop(to_frame(pairs), level=drop_level))
    return screened


def pairs_by_shard(clean: DatasetRef, ids: set[bytes], *, uri: str) -> DatasetRef:
    """For each clean shard, which of `ids` it contains, in a column pair_id."""
    return map_shards(
        named_pairs, clean, uri=uri, version=VERSION, params={"ids": [i.hex() for i in sorted(ids)]}
    ).ref


def named_pairs(clean: pa.Table, *, ids: Sequence[str]) -> pa.Table:
    """The column pair_id of the pairs of one shard that are named, in hexadecimal digits."""
    named = pa.array([bytes.fromhex(each) for each in ids], pa.binary(ID_BYTES))
    found = pc.is_in(clean["pair_id"].combine_chunks().storage, value_set=named)
    return clean.select(["pair_id"]).filter(found)


@lru_cache(maxsize=1)
def _cleared(hits: DatasetRef) -> set[bytes]:
    return cleared_pairs(read_frame(hits))


@dataclass(frozen=True, slots=True)
class Screening:
    """What screening found, and what it cost."""

    screened: MapResult
    """`screening.SCREENED_SCHEMA`, one shard per raw shard."""
    looked: VariantsResult
    """What was found for each benchmark."""
    num_shards_computed: int
    """Raw shards whose texts were read."""
    num_shards_reused: int
    """Raw shards about which all was known."""


def screen_pool(
    raw: DatasetRef,
    prompts: DatasetRef,
    *,
    uri: str,
    version: str,
    config: DecontaminationConfig,
    executor: ShardExecutor,
) -> Screening:
    """Screens every pair; reads a shard only for benchmarks not yet searched there.

    Args:
        raw: `PAIR_SCHEMA`.
        prompts: first-turn prompts of all benchmarks.
        uri: where all of it is kept.
        version: of the structural check and of what is made of the evidence.
        config: which shared stretch counts.
        executor: who works on the shards.
    """
    structured = map_shards(
        screen_structure,
        raw,
        uri=f"{uri}/structure",
        version=version,
        executor=executor,
    )
    looked = look_for_benchmarks(
        raw, prompts, uri=f"{uri}/looked_for", config=config, executor=executor
    )
    screened = map_shards(
        screen_contamination,
        structured.ref,
        beside=list(looked.refs.values()),
        uri=f"{uri}/screened",
        version=version,
        executor=executor,
    )
    num_read = max(structured.num_shards_computed, looked.num_shards_computed)
    num_shards = structured.num_shards_computed + structured.num_shards_reused
    return Screening(screened, looked, num_read, num_shards - num_read)
