"""Box 4, the pools: gold and silver after an iteration, cumulative, with what fell out of them."""

import dagster as dg
import pandas as pd

from synpref_dagster.assets.iteration.keys import (
    IDS,
    iteration_key,
    iteration_number,
    iteration_options,
)
from synpref_dagster.assets.step import campaign_step, conservation, conservation_spec
from synpref_dagster.curation.pool.screening import count_reasons
from synpref_dagster.curation.verification.gold_silver import (
    extend_gold,
    extend_silver,
    undecidable_content,
)
from synpref_dagster.people.consensus import labels_by_rule
from synpref_dagster.resources.campaign import POOL, Campaign
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef


def build_pools(
    number: int, *, gold: dg.AssetKey, silver: dg.AssetKey
) -> list[dg.AssetsDefinition]:
    """Gold and silver after an iteration, resting on those before it."""
    kinds = {"python", "parquet"}
    return [
        dg.asset(
            **iteration_options(number, "gold", kinds=kinds, version="2"),
            ins={
                "gold_before": dg.AssetIn(gold),
                "retrieved": dg.AssetIn(iteration_key(number, "retrieved_pairs")),
                "ledger": dg.AssetIn(iteration_key(number, "human_verdicts")),
            },
            check_specs=conservation_spec(iteration_key(number, "gold").path),
        )(cumulative_gold),
        dg.asset(
            **iteration_options(number, "silver", kinds=kinds),
            ins={
                "silver_before": dg.AssetIn(silver),
                "gold": dg.AssetIn(iteration_key(number, "gold")),
                "panel": dg.AssetIn(iteration_key(number, "judge_votes")),
            },
            check_specs=conservation_spec(iteration_key(number, "silver").path),
        )(cumulative_silver),
    ]


def cumulative_gold(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    gold_before: SelectionRef,
    retrieved: DatasetRef,
    ledger: DatasetRef,
) -> dg.MaterializeResult:
    """All human-verified pairs so far; dropped are those that people could not decide."""
    with campaign_step(context, campaign, tracking, {"ledger": ledger}) as step:
        before, undecided = (
            campaign.frame(gold_before.kept),
            campaign.frame(gold_before.dropped),
        )
        rule = campaign.profile.people.consensus
        verdicts = labels_by_rule(campaign.frame(ledger), rule=rule)

        def compute() -> tuple[pd.DataFrame, pd.DataFrame]:
            ids = campaign.frame(retrieved, IDS)
            kept, dropped = extend_gold(before, verdicts, ids, iteration=iteration_number(context))
            return kept, pd.concat([undecided, dropped], ignore_index=True)

        pool = step.selection(
            compute,
            inputs=[gold_before, retrieved, ledger],
            params={"consensus": rule},
            meta={POOL: campaign.as_fact(campaign.named_in(retrieved, POOL))},
        )
        step.tracked.log_campaign_metrics(
            {"gold/num_pairs": pool.kept.num_rows}, step=iteration_number(context)
        )
        return step.result(
            pool,
            metrics={
                "num_gold": pool.kept.num_rows,
                "num_added": pool.kept.num_rows - len(before),
            },
            checks=[
                conservation(
                    len(before) + len(undecided) + len(verdicts),
                    {"gold": pool.kept.num_rows, "dropped": pool.dropped.num_rows},
                )
            ],
        )


def cumulative_silver(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    silver_before: SelectionRef,
    gold: SelectionRef,
    panel: dict[str, DatasetRef],
) -> dg.MaterializeResult:
    """All judge-labelled pairs so far, less what people verified or could not decide."""
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        before = campaign.frame(silver_before.kept)
        labels = campaign.frame(panel["labels"])

        def compute() -> tuple[pd.DataFrame, pd.DataFrame]:
            return extend_silver(
                before,
                labels,
                campaign.frame(panel["targets"]).query("not gold")[IDS],
                gold=campaign.frame(gold.kept),
                undecidable=undecidable_content(campaign.frame(gold.dropped)),
                iteration=iteration_number(context),
            )

        pool = step.selection(
            compute,
            inputs=[silver_before, gold, panel],
            meta={POOL: campaign.as_fact(campaign.named_in(gold.kept, POOL))},
        )
        reasons = count_reasons(campaign.frame(pool.dropped))
        return step.result(
            pool,
            metrics={"num_silver": pool.kept.num_rows, "num_dropped": pool.dropped.num_rows},
            facts={"dropped_by_reason": reasons},
            checks=[
                conservation(
                    len(before) + len(labels),
                    {"silver": pool.kept.num_rows, "dropped": pool.dropped.num_rows},
                )
            ],
        )
