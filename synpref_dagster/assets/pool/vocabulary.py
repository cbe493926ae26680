"""Box 1, what is fitted on texts: stand-in tokenizers, the embedder, the embedded judges."""

import dagster as dg

from synpref_dagster.assets.step import box, campaign_step
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef

GROUP = "1_pool"


@dg.asset(**box(GROUP, kinds={"parquet"}))
def vocabulary(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    unverified_pool: DatasetRef,
) -> dg.MaterializeResult:
    """The pools on whose texts tokenizers, embedder and embedded judges are fitted; no labels.

    Stand-in tokenizers are trained on `clean`, the embedder and the embedded judges on
    `unverified`. Nightly runs keep it: a grown pool is then seen with the same eyes, so that old
    pairs keep their vectors, rewards and verdicts. Materialize it to fit on the pool as it is now.
    """
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        fitted_on = {"clean": clean_pool.kept, "unverified": unverified_pool}
        return step.result(fitted_on)
