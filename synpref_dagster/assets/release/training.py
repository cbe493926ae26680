"""Box 6, the releases: one Skywork-Reward-V2 checkpoint per model size (Sec. 4.1)."""

import dagster as dg
import pandas as pd

from synpref_dagster.assets.filtering.decision import all_decisions, decided_pool
from synpref_dagster.assets.release.trained_on import (
    SUBSET,
    counted_rows,
    kept_with,
    training_facts,
)
from synpref_dagster.assets.step import box, campaign_step
from synpref_dagster.curation.release.training_sets import final_training_set, tiers
from synpref_dagster.curation.verification.gold_silver import validation_conversations
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.publishing.plots import line_plot
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.storage import DatasetRef, SelectionRef

GROUP = "6_release"


class Retraining(dg.Config):
    """What a run may ask for: the same data and settings give the finished model again."""

    retrain: bool = False


def build_model(sizes: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """The final reward models, one partition per size."""
    return dg.asset(
        **box(GROUP, kinds={"pytorch", "huggingface"}, pool="gpu", code_version="2"),
        partitions_def=sizes,
    )(skywork_reward_v2)


def skywork_reward_v2(
    context: dg.AssetExecutionContext,
    config: Retraining,
    campaign: Campaign,
    sources: PoolSources,
    models: RewardModels,
    tracking: MlflowTracking,
    vocabulary: dict[str, DatasetRef],
    consistency_filtered_subset: SelectionRef,
    recycled_pairs: DatasetRef,
    gold: SelectionRef,
    silver: SelectionRef,
) -> dg.MaterializeResult:
    """Final reward model of one size, trained on curated + gold + silver pairs.

    Refused where it would train on a source whose licence is not in `export.allowed_licences`.
    Only `llama-3.1-8b-40m` also sees the recycled pairs. With backend `stand_in` this is a tiny
    randomly initialised stand-in of the size's architecture, and every report says so.
    """
    size = context.partition_key
    inputs = {"curated": consistency_filtered_subset, "gold": gold, "silver": silver}
    row = backbone(size, campaign.profile.backbones)
    if row.sees_recycled:
        inputs["recycled"] = SelectionRef(recycled_pairs, consistency_filtered_subset.dropped)
    with campaign_step(context, campaign, tracking, inputs) as step:
        pairs, held_out, rows = _training_set(
            campaign,
            consistency_filtered_subset,
            gold=campaign.frame(gold.kept),
            silver=campaign.frame(silver.kept),
            with_recycled=row.sees_recycled,
        )
        # Before training: a licence that forbids it is no news for the evening after.
        told = {SUBSET: consistency_filtered_subset, "gold": gold, "silver": silver}
        facts = training_facts(campaign, sources, rows, inputs=told)
        trained = models.train(
            f"{step.name}/{size}",
            pairs,
            held_out,
            vocabulary=vocabulary["clean"],
            context=context,
            model_size=size,
            retrain=config.retrain,
        )
        trained.track(step.tracked)
        return step.result(
            kept_with(step, trained.ref, facts),
            metrics=trained.metrics(),
            facts={**trained.origin(), "left_out": trained.left_out_by_reason()},
            plot=line_plot(
                {"loss": trained.losses},
                title=f"{size}: training loss",
                x_label="step",
                y_label="loss",
                percent=False,
            ),
        )


def _training_set(
    campaign: Campaign,
    subset: SelectionRef,
    *,
    gold: pd.DataFrame,
    silver: pd.DataFrame,
    with_recycled: bool,
) -> tuple[list[PreferencePair], list[PreferencePair], pd.DataFrame]:
    """The pairs that train, those that validate, and how many there are of which kind."""
    clean = decided_pool(campaign, subset).kept
    wanted = final_training_set(
        all_decisions(campaign, subset),
        gold=gold,
        silver=silver,
        held_out=validation_conversations(gold),
        with_recycled=with_recycled,
    )
    pairs = campaign.labelled(clean, wanted)
    held_out = campaign.labelled(clean, gold.query("split == 'validation'"))
    tier = dict(zip(wanted["content_id"], tiers(wanted, gold=gold, silver=silver), strict=True))
    rows = counted_rows([(pair, tier[pair.content_id]) for pair in pairs], held_out)
    return pairs, held_out, rows
