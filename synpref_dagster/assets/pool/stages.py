"""Box 1, its outcome: the clean pool split between stage 1 and stage 2."""

import dagster as dg
import pyarrow.compute as pc

from synpref_dagster.assets.pool.recheck import cleared_in
from synpref_dagster.assets.pool.strict_overlaps import barred_from_gold
from synpref_dagster.assets.step import (
    Step,
    box,
    campaign_step,
    conservation,
    conservation_spec,
    shard_counts,
)
from synpref_dagster.curation.pool.routing import pool_of_stage
from synpref_dagster.curation.pool.routing_shards import route_pairs
from synpref_dagster.curation.pool.shards import pairs_by_shard
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import (
    DatasetRef,
    SelectionRef,
    find_manifest,
    iter_tables,
    make_ref,
    map_shards,
)
from synpref_dagster.storage.maps.apart import ROUTED

GROUP = "1_pool"
STAGE_ONE = "unverified_pool"


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, code_version="3"),
    check_specs=conservation_spec("unverified_pool"),
)
def unverified_pool(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    strict_overlaps: DatasetRef,
    wild_pool: DatasetRef,
) -> dg.MaterializeResult:
    """D_un: clean pairs whose source label a person set, and risky ones; stage 1 (Sec. 3.2).

    Risky pairs of other origin come in up to `pool.max_risky_share` of the human-labelled ones;
    pairs that overlap with a benchmark (`strict_overlaps`) do not.
    """
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        pool, routed = _pool_of_stage(step, executors, clean_pool, strict=strict_overlaps, stage=1)
        return step.result(
            pool,
            metrics={"num_pairs": pool.num_rows, "num_risky_routed": routed.num_rows},
            checks=[
                conservation(
                    clean_pool.kept.num_rows,
                    {"unverified": pool.num_rows, "wild": wild_pool.num_rows},
                )
            ],
        )


@dg.asset(**box(GROUP, kinds={"python", "parquet"}, code_version="3"))
def wild_pool(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    strict_overlaps: DatasetRef,
) -> dg.MaterializeResult:
    """D_wild: the other clean pairs, labelled by a model or rule; stage 2 only (Sec. 3.3)."""
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        pool, _ = _pool_of_stage(step, executors, clean_pool, strict=strict_overlaps, stage=2)
        risky = (pc.sum(part["risky"]).as_py() for part in iter_tables(pool, ["risky"]))
        return step.result(
            pool,
            metrics={"num_pairs": pool.num_rows, "num_risky_left": sum(filter(None, risky))},
        )


def _pool_of_stage(
    step: Step, executors: Executors, clean_pool: SelectionRef, *, strict: DatasetRef, stage: int
) -> tuple[DatasetRef, DatasetRef]:
    """The pool, and the pairs that risk routed to stage 1."""
    campaign, clean = step.campaign, clean_pool.kept
    uri = campaign.uri("data", "stage_routing")
    barred = [
        pairs_by_shard(clean, cleared_in(campaign, clean), uri=f"{uri}/barred"),
        barred_from_gold(campaign, strict),
    ]
    before = find_manifest(campaign.uri("data", STAGE_ONE))
    routed = route_pairs(
        clean,
        uri=uri,
        max_share=campaign.profile.pool.max_risky_share,
        barred=barred,
        stage_one=make_ref(campaign.uri("data", STAGE_ONE), before) if before else None,
        executor=executors.get(),
    )
    split = map_shards(
        pool_of_stage,
        clean,
        beside=[routed, *barred],
        uri=campaign.uri("data", step.name),
        version=step.version,
        params={"stage": stage},
        meta={"texts": campaign.facts(clean)["texts"], ROUTED: campaign.as_fact(routed)},
        executor=executors.get(),
    )
    step.note(shard_counts(split, "shards"))
    return split.ref, routed
