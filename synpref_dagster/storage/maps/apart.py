"""A map in which the routed rows of each shard are a task of their own, apart from the others.

New rows may route old ones all over a data set, each in the shard in which it lies. Worked on
together with the others of its shard, one such row would cost a shard.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.storage import DatasetRef, MapResult, ShardExecutor, join_uri, map_shards

VERSION = "1"
OWN, ROUTED = "own", "routed"


@dataclass(frozen=True, slots=True)
class ApartResult:
    """What `map_apart` published, and what it cost."""

    ref: DatasetRef
    parts: Mapping[str, MapResult]
    """By `OWN` and `ROUTED` the work on either."""

    def counts(self) -> dict[str, int]:
        """Metrics that say what a run cost."""
        own, routed = self.parts[OWN], self.parts.get(ROUTED)
        found = {
            "num_shards_computed": own.num_shards_computed,
            "num_shards_reused": own.num_shards_reused,
        }
        if routed is not None:
            found["num_routed_parts_computed"] = routed.num_shards_computed
        return found


def map_apart(  # noqa: PLR0913 - as `map_shards`, and who was routed
    fn: Callable[..., pa.Table],
    pool: DatasetRef,
    routed: DatasetRef | None,
    *,
    uri: str,
    version: str,
    params: Mapping[str, Any] = {},
    identified_by: Mapping[str, Any] = {},
    beside: Sequence[DatasetRef] = (),
    meta: Mapping[str, Any] | None = None,
    executor: ShardExecutor | None = None,
    run_both: Callable[[Iterable[Callable[[], MapResult]]], list[MapResult]] | None = None,
) -> ApartResult:
    """`map_shards` with the routed rows of each shard worked on apart, and put in their places.

    Args:
        fn: function of a table with pair_id and of those beside it, which gives a row per pair,
            pair_id among its columns; a row depends on its own pair only.
        pool: with pair_id.
        routed: the column pair_id of the routed pairs, one shard per shard of `pool`; None for a
            pool in which nobody is.
        uri: where the output goes; the two parts go below it.
        version: see `map_shards`, as the others.
        params: keyword arguments of `fn`.
        identified_by: identifies the work too, but is no argument of `fn`.
        beside: data sets that go along, shard by shard.
        meta: facts for the manifest of the output.
        executor: in this process by default.
        run_both: calls the work on either part and gives both results; one after the other by
            default. Work that waits for batches passes a function that sends all before it waits.
    """
    work = partial(
        map_shards,
        fn,
        beside=beside,
        version=version,
        params=params,
        identified_by=identified_by,
        executor=executor,
    )
    if routed is None:
        whole = work(pool, uri=uri, meta=meta)
        return ApartResult(whole.ref, {OWN: whole})
    placing = partial(map_shards, dataset=pool, version=VERSION)
    split = placing(
        split_routed, beside=[routed], uri=join_uri(uri, "split"), outputs=[OWN, ROUTED]
    ).outputs
    own, others = (run_both or _in_turn)(
        partial(work, split[name], uri=join_uri(uri, f"of_{name}"), empty_alone=True)
        for name in (OWN, ROUTED)
    )
    joined = placing(
        join_parts,
        beside=[own.ref, others.ref],
        uri=uri,
        identified_by={"version": version},  # What made the parts.
        meta=meta,
    )
    return ApartResult(joined.ref, {OWN: own, ROUTED: others})


def split_routed(pool: pa.Table, routed: pa.Table) -> dict[str, pa.Table]:
    """The rows of a shard by `OWN` and `ROUTED`, each in order."""
    apart = pc.is_in(_ids(pool), value_set=_ids(routed))
    return {OWN: pool.filter(pc.invert(apart)), ROUTED: pool.filter(apart)}


def join_parts(pool: pa.Table, *parts: pa.Table) -> pa.Table:
    """The rows of the parts in the order of the pool.

    Args:
        pool: pair_id of a shard.
        parts: with pair_id; together they have a row per pair.

    Raises:
        ValueError: a pair has no row.
    """
    whole = pa.concat_tables(parts).combine_chunks()
    rows = pc.index_in(_ids(pool), value_set=_ids(whole))
    if rows.null_count:
        raise ValueError(f"{rows.null_count} of {pool.num_rows} pairs have no row in either part")
    return whole.take(rows)


def _in_turn(calls: Iterable[Callable[[], MapResult]]) -> list[MapResult]:
    return [call() for call in calls]


def _ids(table: pa.Table) -> pa.Array:
    return table["pair_id"].combine_chunks().storage
