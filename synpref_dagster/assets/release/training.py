"""Box 6, the releases: one Skywork-Reward-V2 checkpoint per model size (Sec. 4.1)."""

import dagster as dg

from synpref_dagster.assets.filtering.decision import all_decisions, decided_pool
from synpref_dagster.assets.release.sizes import model_sizes
from synpref_dagster.assets.step import box, campaign_step
from synpref_dagster.curation.release.training_sets import final_training_set
from synpref_dagster.curation.verification.gold_silver import validation_conversations
from synpref_dagster.publishing.plots import line_plot
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.storage import DatasetRef, SelectionRef

GROUP = "6_release"


@dg.asset(**box(GROUP, kinds={"pytorch", "huggingface"}, pool="gpu"), partitions_def=model_sizes)
def skywork_reward_v2(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    tracking: MlflowTracking,
    vocabulary: dict[str, DatasetRef],
    consistency_filtered_subset: SelectionRef,
    recycled_pairs: DatasetRef,
    gold: SelectionRef,
    silver: SelectionRef,
) -> dg.MaterializeResult:
    """Final reward model of one size, trained on curated + gold + silver pairs.

    Only `llama-3.1-8b-40m` also sees the recycled pairs. With backend `stand_in` this is a tiny
    randomly initialised stand-in of the size's architecture, and every report says so.
    """
    size = context.partition_key
    inputs = {"curated": consistency_filtered_subset, "gold": gold, "silver": silver}
    if backbone(size).sees_recycled:
        inputs["recycled"] = SelectionRef(recycled_pairs, consistency_filtered_subset.dropped)
    with campaign_step(context, campaign, tracking, inputs) as step:
        verified = campaign.frame(gold.kept)
        clean = decided_pool(campaign, consistency_filtered_subset).kept
        training_set = final_training_set(
            all_decisions(campaign, consistency_filtered_subset),
            gold=verified,
            silver=campaign.frame(silver.kept),
            held_out=validation_conversations(verified),
            with_recycled=backbone(size).sees_recycled,
        )
        trained = models.train(
            f"{step.name}/{size}",
            campaign.labelled(clean, training_set),
            campaign.labelled(clean, verified.query("split == 'validation'")),
            vocabulary=vocabulary["clean"],
            context=context,
            model_size=size,
        )
        trained.track(step.tracked)
        return step.result(
            trained.ref,
            metrics=trained.metrics(),
            facts={
                **trained.origin(),
                "left_out": trained.left_out_by_reason(),
            },
            plot=line_plot(
                {"loss": trained.losses},
                title=f"{size}: training loss",
                x_label="step",
                y_label="loss",
                percent=False,
            ),
        )
