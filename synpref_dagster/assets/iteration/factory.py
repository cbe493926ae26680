"""Box 4: the iterations of stage 1 (Sec. 3.2), unrolled by a factory.

`iteration_00` is the seed's reward model. Iteration k retrieves around the errors of model k-1, has
people and judges label what was retrieved, and trains model k on all silver so far: the curve of
`gold/accuracy` over k is the paper's Tab. 20, and no label that was paid for stays unused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
import pandas as pd

from synpref_dagster.assets.iteration.gold_silver import build_pools
from synpref_dagster.assets.iteration.keys import iteration_key, iteration_number, iteration_options
from synpref_dagster.assets.iteration.labels import build_labelling
from synpref_dagster.assets.step import campaign_step
from synpref_dagster.assets.views import corrected_labels
from synpref_dagster.curation.verification.people import accuracy_by
from synpref_dagster.pairs.accuracy import confidence
from synpref_dagster.pairs.record import id_index, is_among
from synpref_dagster.publishing.plots import bar_plot, line_plot
from synpref_dagster.resources.campaign import POOL, Campaign
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.stages import IterationSettings
from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef

NOT_VALIDATED_ON = "no_validation_conversation_trained_on"
NO_SILVER = (
    "no silver pair to train on: lower seed_set.num_gold, so that judges have some of the pool "
    "left to label, or give the pool more pairs"
)


@dataclass(frozen=True)
class IterationAssets:
    """What one iteration adds to the graph, and the keys the next one continues from."""

    assets: list[dg.AssetsDefinition]
    gold: dg.AssetKey
    silver: dg.AssetKey
    reward_model: dg.AssetKey
    gold_confidence: dg.AssetKey
    checks: list[dg.AssetChecksDefinition] = field(default_factory=list)


def build_iterations(
    settings: IterationSettings,
    people: Mapping[dg.AssetKey, Sequence[dg.AssetKey]],
    features: Sequence[dg.AssetKey] = (),
) -> list[IterationAssets]:
    """The seed's model and `num_iterations` iterations, each resting on the one before.

    Args:
        settings: how many, and who is asked first.
        people: asset that waits for people -> the external assets that stand for them.
        features: what models read of a frozen backbone, if any.
    """
    gold, silver = dg.AssetKey("human_verified_seed"), dg.AssetKey("silver_seed")
    iterations = [_train_and_measure(0, gold=gold, silver=silver, features=features)]
    for number in range(1, settings.num_iterations + 1):
        asked = people.get(iteration_key(number, "human_verdicts"), [])
        iterations.append(
            _build_iteration(
                number,
                iterations[-1],
                policy=settings.human_policy,
                people=asked,
                features=features,
            )
        )
    return iterations


def _build_iteration(
    number: int,
    before: IterationAssets,
    *,
    policy: str,
    people: Sequence[dg.AssetKey],
    features: Sequence[dg.AssetKey],
) -> IterationAssets:
    labelling = build_labelling(
        number,
        rests_on={
            "gold": before.gold,
            "silver": before.silver,
            "reward_model": before.reward_model,
            "gold_confidence": before.gold_confidence,
        },
        policy=policy,
        people=people,
    )
    pools = build_pools(number, gold=before.gold, silver=before.silver)
    gold, silver = iteration_key(number, "gold"), iteration_key(number, "silver")
    model = _train_and_measure(number, gold=gold, silver=silver, features=features)
    return IterationAssets(
        assets=[*labelling, *pools, *model.assets],
        gold=gold,
        silver=silver,
        reward_model=model.reward_model,
        gold_confidence=model.gold_confidence,
        checks=model.checks,
    )


def _train_and_measure(
    number: int, *, gold: dg.AssetKey, silver: dg.AssetKey, features: Sequence[dg.AssetKey]
) -> IterationAssets:
    model_key = iteration_key(number, "reward_model")
    model = dg.asset(
        **iteration_options(
            number, "reward_model", kinds={"pytorch", "huggingface"}, pool="gpu", version="2"
        ),
        ins={"gold": dg.AssetIn(gold), "silver": dg.AssetIn(silver)},
        deps=features,
        check_specs=[
            dg.AssetCheckSpec(
                NOT_VALIDATED_ON,
                asset=model_key,
                blocking=True,
                description="No conversation that validates the model is in its training set.",
            )
        ],
    )(reward_model)
    measured = dg.asset(
        **iteration_options(number, "gold_confidence", kinds={"pytorch", "parquet"}, pool="gpu"),
        ins={"gold": dg.AssetIn(gold), "reward_model": dg.AssetIn(model_key)},
    )(gold_confidence)
    disjoint = dg.asset_check(
        asset=silver,
        name=f"disjoint_from_gold_{number:02d}",
        additional_ins={"gold": dg.AssetIn(gold)},
        blocking=True,
        description="No content is both gold and silver: judges never overrule people.",
    )(gold_and_silver_disjoint)
    return IterationAssets(
        assets=[model, measured],
        gold=gold,
        silver=silver,
        reward_model=model_key,
        gold_confidence=iteration_key(number, "gold_confidence"),
        checks=[disjoint],
    )


def reward_model(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    tracking: MlflowTracking,
    vocabulary: dict[str, DatasetRef],
    gold: SelectionRef,
    silver: SelectionRef,
) -> dg.MaterializeResult:
    """Bradley-Terry reward model trained on all silver so far, best checkpoint by gold."""
    with campaign_step(context, campaign, tracking, {"gold": gold, "silver": silver}) as step:
        held_out = campaign.frame(gold.kept).query("split == 'validation'")
        pairs = campaign.labelled(campaign.named_in(silver.kept, POOL), campaign.frame(silver.kept))
        validation = campaign.labelled(campaign.named_in(gold.kept, POOL), held_out)
        if not pairs:
            raise dg.Failure(NO_SILVER, allow_retries=False)
        trained = models.train(
            step.name,
            pairs,
            validation,
            vocabulary=vocabulary["clean"],
            context=context,
        )
        trained.track(step.tracked)
        leaked = {p.conversation_id for p in pairs} & set(held_out["conversation_id"])
        step.tracked.log_campaign_metrics(
            {"gold/accuracy": trained.accuracy, "silver/num_pairs": len(pairs)},
            step=iteration_number(context),
        )
        step.tracked.register_checkpoint(
            f"{campaign.profile.name}-stage-1", trained.folder, metrics=trained.metrics()
        )
        return step.result(
            trained.ref,
            metrics={"num_pairs": len(pairs), **trained.metrics()},
            facts={"dropped": trained.left_out_by_reason(), "reused": trained.reused},
            plot=line_plot(
                {"loss": trained.losses},
                title="Training loss",
                x_label="step",
                y_label="loss",
                percent=False,
            ),
            checks=[
                dg.AssetCheckResult(
                    check_name=NOT_VALIDATED_ON,
                    passed=not leaked,
                    metadata={"num_leaked_conversations": len(leaked)},
                )
            ],
        )


def gold_confidence(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    gold: SelectionRef,
    reward_model: ModelRef,
) -> dg.MaterializeResult:
    """P of the human label of every gold pair, with accuracy by attribute of the pair."""
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        verified = campaign.frame(gold.kept)

        def compute() -> pd.DataFrame:
            pool = campaign.named_in(gold.kept, POOL)
            pairs = campaign.pairs(pool, list(verified["pair_id"]))
            margins = pd.Series(
                models.margins(reward_model, pairs), index=id_index(p.pair_id for p in pairs)
            )
            source_margin = margins.reindex(id_index(verified["pair_id"])).to_numpy()
            margin = source_margin * verified["label"].to_numpy()
            return verified[["pair_id", "split"]].assign(
                margin=margin.astype("float32"), confidence=confidence(margin)
            )

        scored = step.dataset(compute, inputs=[gold, reward_model])
        attributes = corrected_labels(
            campaign.rows(attribute_labels, verified["pair_id"]), verified
        )
        frame = campaign.frame(scored).merge(attributes, on="pair_id", validate="one_to_one")
        by_attribute = {
            name: accuracy_by(frame, name)
            for name in ("task_category", "objectivity", "controversiality")
        }
        held_out = frame[frame["split"] == "validation"]
        return step.result(
            scored,
            metrics={
                "accuracy_all_gold": float((frame["margin"] > 0).mean()),
                "accuracy_validation": float((held_out["margin"] > 0).mean()),
                "tie_rate": float((frame["margin"] == 0).mean()),
            },
            facts=by_attribute,
            plot=bar_plot(
                by_attribute["task_category"],
                title="Gold accuracy by category",
                value_label="accuracy",
            ),
        )


def gold_and_silver_disjoint(
    campaign: Campaign, silver: SelectionRef, gold: SelectionRef
) -> dg.AssetCheckResult:
    """Compare content ids, so that a flipped twin counts as the same pair."""
    verified = set(campaign.frame(gold.kept, ["content_id"])["content_id"])
    labelled = campaign.frame(silver.kept, ["content_id"])["content_id"]
    shared = int(is_among(labelled, verified).sum())
    return dg.AssetCheckResult(
        passed=shared == 0,
        description=f"{shared} of {len(labelled):,} silver pairs are gold too",
    )
