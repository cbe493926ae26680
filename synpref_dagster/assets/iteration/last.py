"""Box 4, its end: gold and silver of the last iteration, on which everything later rests.

Nothing is written here. How many iterations a profile has is known to the factory alone; whatever
comes after them asks for `gold` and `silver`.
"""

import dagster as dg

from synpref_dagster.assets.step import box, campaign_step
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import SelectionRef

GROUP = "4_labelled"  # by name, too, after the groups of the iterations


def build_last(gold_key: dg.AssetKey, silver_key: dg.AssetKey) -> list[dg.AssetsDefinition]:
    """The assets `gold` and `silver`, which hand on those of the last iteration."""
    shared = box(GROUP, kinds={"parquet"})
    return [
        dg.asset(**shared, ins={"last": dg.AssetIn(gold_key)})(gold),
        dg.asset(**shared, ins={"last": dg.AssetIn(silver_key)})(silver),
    ]


def gold(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    last: SelectionRef,
) -> dg.MaterializeResult:
    """D_gold: every pair that people verified in stage 1, split by conversation (Sec. 3.2).

    Kept trains and validates; dropped are those that people could not decide.
    """
    with campaign_step(context, campaign, tracking, {"gold": last}) as step:
        held_out = campaign.frame(last.kept, ["split"])["split"] == "validation"
        return step.result(
            last, metrics={"num_gold": len(held_out), "num_validation": int(held_out.sum())}
        )


def silver(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    last: SelectionRef,
) -> dg.MaterializeResult:
    """D_silver: every pair that judges labelled in stage 1, less those that people verified."""
    with campaign_step(context, campaign, tracking, {"silver": last}) as step:
        return step.result(last, metrics={"num_silver": last.kept.num_rows})
