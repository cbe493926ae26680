"""Box 1, its outcome: the clean pool split between stage 1 and stage 2."""

from itertools import pairwise

import dagster as dg
import numpy as np
import pandas as pd

from synpref_dagster.assets.contamination_review import cleared_in
from synpref_dagster.assets.step import (
    Step,
    box,
    campaign_step,
    conservation,
    conservation_spec,
)
from synpref_dagster.curation.pairs import is_among
from synpref_dagster.curation.pooling import POOL_COLUMNS
from synpref_dagster.curation.routing import in_stage_one
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.tracking import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef, find_manifest, make_ref, read_manifest

GROUP = "1_pool"


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, code_version="2"),
    check_specs=conservation_spec("unverified_pool"),
)
def unverified_pool(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    wild_pool: DatasetRef,
) -> dg.MaterializeResult:
    """D_un: clean pairs whose source label a person set, and risky ones; stage 1 (Sec. 3.2).

    Risky pairs of other origin come in up to `pool.max_risky_share` of the human-labelled ones.
    """
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        pool = _pool_of_stage(step, clean_pool, stage=1)
        origins = campaign.frame(clean_pool.kept, ["origin"])["origin"]
        return step.result(
            pool,
            metrics={
                "num_pairs": pool.num_rows,
                "num_risky_routed": pool.num_rows - int((origins == "human").sum()),
            },
            checks=[
                conservation(
                    clean_pool.kept.num_rows,
                    {"unverified": pool.num_rows, "wild": wild_pool.num_rows},
                )
            ],
        )


@dg.asset(**box(GROUP, kinds={"python", "parquet"}, code_version="2"))
def wild_pool(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
) -> dg.MaterializeResult:
    """D_wild: the other clean pairs, labelled by a model or rule; stage 2 only (Sec. 3.3)."""
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        pool = _pool_of_stage(step, clean_pool, stage=2)
        risky = campaign.frame(pool, ["risky"])["risky"]
        return step.result(
            pool, metrics={"num_pairs": pool.num_rows, "num_risky_left": int(risky.sum())}
        )


def _pool_of_stage(step: Step, clean_pool: SelectionRef, *, stage: int) -> DatasetRef:
    campaign, share = step.campaign, step.campaign.profile.pool.max_risky_share

    def compute() -> list[pd.DataFrame]:
        clean = campaign.frame(clean_pool.kept)
        first = in_stage_one(clean, max_risky_share=share, already=_unverified_so_far(campaign))
        first &= ~is_among(clean["pair_id"], cleared_in(campaign, clean_pool.kept))
        chosen = first == (stage == 1)
        ends = np.cumsum([shard.num_rows for shard in read_manifest(clean_pool.kept).shards])
        return [
            clean.iloc[start:end].loc[chosen[start:end], POOL_COLUMNS].reset_index(drop=True)
            for start, end in pairwise([0, *ends])
        ]

    cleared = [pair_id.hex() for pair_id in sorted(cleared_in(campaign, clean_pool.kept))]
    return step.dataset(
        compute,
        inputs=[clean_pool],
        params={"stage": stage, "max_risky_share": share, "cleared": cleared},
        meta={"texts": campaign.facts(clean_pool.kept)["texts"]},
    )


def _unverified_so_far(campaign: Campaign) -> list[bytes]:
    uri = campaign.uri("data", "unverified_pool")
    manifest = find_manifest(uri)
    if manifest is None:
        return []
    return list(campaign.frame(make_ref(uri, manifest), ["pair_id"])["pair_id"])
