"""Box 5, the two reward models that bear witness, and their rewards on the pool (Sec. 3.3).

The best RM is the best iteration by one common gold validation set. The gold RM trains on
human-verified pairs only and never on their validation part.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.iteration.keys import candidate_inputs
from synpref_dagster.assets.step import box, campaign_step
from synpref_dagster.curation.filtering.crossfit import best_by_accuracy
from synpref_dagster.curation.filtering.margins import count_margins, sum_margins
from synpref_dagster.pairs.progress import ChunkPace
from synpref_dagster.publishing.plots import bar_plot, histogram
from synpref_dagster.resources.campaign import POOL, Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.reward.shards import score_shard
from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef, iter_tables, map_shards
from synpref_dagster.storage.maps.grown import map_grown

GROUP = "5_filtering"


def build_best_model(reward_models: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    """The best RM, resting on every iteration's model."""
    return dg.asset(
        **box(GROUP, kinds={"pytorch", "huggingface"}), ins=candidate_inputs(reward_models)
    )(best_reward_model)


def best_reward_model(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    tracking: MlflowTracking,
    unverified_pool: DatasetRef,
    gold: SelectionRef,
    **candidates: Any,
) -> dg.MaterializeResult:
    """The iteration's model with the best accuracy on the one common gold validation set."""
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        held_out = campaign.frame(gold.kept).query("split == 'validation'")
        # In the pool of tonight, not the one that gold names: what left it validates nothing.
        pairs = campaign.labelled(unverified_pool, held_out)
        accuracy = pd.Series(
            {
                name: float((models.margins(model, pairs) > 0).mean())
                for name, model in sorted(candidates.items())
            }
        )
        chosen = str(best_by_accuracy(accuracy))
        return step.result(
            candidates[chosen],
            metrics={"gold_accuracy": accuracy[chosen], "num_validation_pairs": len(pairs)},
            facts={"chosen": chosen, "accuracy_by_candidate": accuracy.to_dict()},
            plot=bar_plot(
                accuracy.to_dict(), title="Gold accuracy by iteration", value_label="accuracy"
            ),
        )


def build_witnesses(features: Sequence[dg.AssetKey]) -> list[dg.AssetsDefinition]:
    """The gold RM and the rewards of both models, behind the features that they read, if any."""
    model = box(GROUP, kinds={"pytorch", "huggingface"}, pool="gpu", code_version="2")
    scores = box(GROUP, kinds={"pytorch", "parquet"}, pool="gpu")
    return [
        dg.asset(**model, deps=features)(gold_reward_model),
        dg.asset(**scores, deps=features)(pool_rewards),
    ]


def gold_reward_model(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    tracking: MlflowTracking,
    vocabulary: dict[str, DatasetRef],
    unverified_pool: DatasetRef,
    gold: SelectionRef,
) -> dg.MaterializeResult:
    """Reward model trained on human-verified pairs only, never on their validation part."""
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        verified = campaign.frame(gold.kept)
        pairs, held_out = (
            campaign.labelled(unverified_pool, verified[verified["split"] == split])
            for split in ("train", "validation")
        )
        trained = models.train(
            step.name, pairs, held_out, vocabulary=vocabulary["clean"], context=context
        )
        trained.track(step.tracked)
        num_gone = len(verified) - len(pairs) - len(held_out)
        return step.result(
            trained.ref,
            metrics={**trained.metrics(), "num_gold_gone": num_gone},
            facts={"reused": trained.reused},
        )


def pool_rewards(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    best_reward_model: ModelRef,
    gold_reward_model: ModelRef,
) -> dg.MaterializeResult:
    """Both models' rewards for every response of the clean pool, each distinct one scored once."""
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        witnesses = {"best": best_reward_model, "gold": gold_reward_model}
        scored = map_grown(
            partial(score_shard, models=witnesses),
            step.ids(clean_pool.kept),
            campaign.texts(clean_pool.kept),
            uri=campaign.uri("data", step.name),
            version=step.version,
            identified_by={
                "models": {name: model.fingerprint for name, model in witnesses.items()}
            },
            meta={POOL: campaign.as_fact(clean_pool.kept)},
            executor=executors.get(holds_model=True),
            on_progress=ChunkPace("rewards of the pool"),
        )
        step.note(scored.counts())
        counted = map_shards(
            count_margins,
            scored.ref,
            uri=campaign.uri("data", step.name, "counted"),
            version=step.version,
            executor=executors.get(),
            outputs=["totals", "bins"],
        )
        margins = sum_margins(*(iter_tables(counted.outputs[part]) for part in ("totals", "bins")))
        return step.result(
            scored.ref,
            metrics={
                "best_agrees_with_source": margins.share("num_best_positive"),
                "gold_agrees_with_source": margins.share("num_gold_positive"),
                "models_agree": margins.share("num_agreeing"),
            },
            plot=histogram(
                {f"{name} RM": counts for name, counts in margins.counts.items()},
                margins.edges,
                title="Margins of the source labels",
                x_label="margin",
            ),
        )
