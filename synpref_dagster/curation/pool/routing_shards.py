"""The split of the clean pool between the stages, shard by shard, and what it remembers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.pool.routing import (
    CANDIDATE_COLUMNS,
    HUMAN,
    risky_candidates,
    routable,
    routed_to_stage_one,
)
from synpref_dagster.pairs.ids import among, id_keys
from synpref_dagster.pairs.record import id_array
from synpref_dagster.storage import (
    DatasetRef,
    Manifest,
    ShardExecutor,
    find_manifest,
    find_rows,
    iter_tables,
    join_uri,
    make_ref,
    map_shards,
    read_frame,
    read_manifest,
    step_key,
    to_frame,
    write_dataset,
)
from synpref_dagster.storage.manifest import has_all_shards

VERSION = "1"


def route_pairs(
    clean: DatasetRef,
    *,
    uri: str,
    max_share: float,
    barred: Sequence[DatasetRef] = (),
    stage_one: DatasetRef | None = None,
    executor: ShardExecutor | None = None,
) -> DatasetRef:
    """Which risky pairs come into stage 1, see `routing.routed_to_stage_one`.

    Memory holds the risky pairs of other origin. Who was routed before stays routed, and so does
    a pair of people whose copy from another source is the one that the pool keeps by now.

    Args:
        clean: `CLEAN_SCHEMA`.
        uri: where candidates and routed pairs are kept.
        max_share: most routed pairs, as a share of those that people labelled.
        barred: data sets with one shard per shard of `clean` and the column pair_id: pairs that
            may not come into stage 1.
        stage_one: the pool of stage 1 of the night before.
        executor: in this process by default.

    Returns:
        The column pair_id of the routed pairs, one shard per shard of `clean`.
    """
    found = map_shards(
        risky_candidates,
        clean,
        beside=barred,
        uri=uri,
        version=VERSION,
        executor=executor,
        outputs=["candidates", "origins"],
    ).outputs
    num_human = int(read_frame(found["origins"])["num_human"].sum())
    target = join_uri(uri, "routed")

    inputs = [ref.fingerprint for ref in (clean, *barred)]
    work = step_key(version=VERSION, inputs=inputs, params={"max_share": max_share})
    before = _known(target, first=step_key(version=VERSION, inputs=[work, ""], params={}))
    if before is not None and before.meta.get("work") == work:
        return make_ref(target, before)
    # Who was routed decides too: a pool that goes back to an earlier state forgets nobody.
    already = set(read_frame(make_ref(target, before))["pair_id"]) if before else set()
    already |= _of_people_before(clean, stage_one) if stage_one else set()
    rows = _with_former(_rows_by_shard(found["candidates"]), already, [clean, *barred])
    mask = routed_to_stage_one(rows, num_human=num_human, max_share=max_share, already=already)
    history = [work, before.fingerprint if before else ""]
    return write_dataset(
        target,
        _ids_by_shard(rows[mask], num_shards=len(read_manifest(clean).shards)),
        step=step_key(version=VERSION, inputs=history, params={}),
        meta={"work": work},
    )


def _of_people_before(clean: DatasetRef, stage_one: DatasetRef) -> set[bytes]:
    """Ids of pairs that were in stage 1 and whose origin is another one now.

    One row appended to a file of people moves the file behind others that repeat some of its pairs;
    without this their labels would leave gold, and every model would be trained anew.
    """
    keys = [id_keys(table["pair_id"])[:, 0] for table in iter_tables(stage_one, ["pair_id"])]
    ranked, found = np.sort(np.concatenate(keys)), set[bytes]()
    for table in iter_tables(clean, ["pair_id", "origin"]):
        others = table.filter(pc.not_equal(table["origin"], HUMAN))
        if others.num_rows:
            known = among(id_keys(others["pair_id"])[:, 0], ranked)
            found |= set(to_frame(others.filter(pa.array(known)))["pair_id"])
    return found & set(to_frame(find_rows(stage_one, found, columns=["pair_id"]))["pair_id"])


def _known(target: str, *, first: str) -> Manifest | None:
    """Who was routed before; None when nobody was, or when it was by this very work.

    Raises:
        ValueError: a shard of it is lost, and it was routed by more than one state of the pool.
    """
    before = find_manifest(target)
    if before is None or has_all_shards(target, before.shards):
        return before
    if before.step != first:
        raise ValueError(
            f"{target}: a shard that says which pairs people got is lost; put it back from a copy, "
            "or delete the folder to route the pool anew, which may ask people about other pairs"
        )
    return None


def _rows_by_shard(candidates: DatasetRef) -> pd.DataFrame:
    """`CANDIDATE_COLUMNS` and the number of the shard."""
    sizes = [shard.num_rows for shard in read_manifest(candidates).shards]
    return read_frame(candidates).assign(shard=np.repeat(np.arange(len(sizes)), sizes))


def _with_former(
    rows: pd.DataFrame, already: set[bytes], pools: Sequence[DatasetRef]
) -> pd.DataFrame:
    """Candidates, and pairs that were routed before and are risky no longer.

    What made them risky is gone, but people may have labelled them by now.

    Args:
        rows: what `_rows_by_shard` gives.
        already: ids of the pairs that were routed before.
        pools: the clean pool, then the barred pairs.
    """
    former = already - set(rows["pair_id"])
    if not former:
        return rows
    wanted = pa.table({"pair_id": id_array(sorted(former))})
    parts = [rows]
    for number, (clean, *barred) in enumerate(
        zip(*(iter_tables(pool) for pool in pools), strict=True)
    ):
        found = to_frame(routable(clean, wanted, *barred).select(CANDIDATE_COLUMNS))
        parts.append(found.assign(shard=number))
    return pd.concat([part for part in parts if len(part)] or [rows], ignore_index=True)


def _ids_by_shard(rows: pd.DataFrame, *, num_shards: int) -> list[pa.Table]:
    ids: list[list[bytes]] = [[] for _ in range(num_shards)]
    for pair_id, number in zip(rows["pair_id"], rows["shard"], strict=True):
        ids[number].append(pair_id)
    return [pa.table({"pair_id": id_array(each)}) for each in ids]
