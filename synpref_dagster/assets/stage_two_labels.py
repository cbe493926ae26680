"""Box 5, the judges as third witness, and the evidence that the flip guard rests on.

The evidence is cross-fitted on gold: every gold pair is seen by a gold RM that did not train on its
conversation, and by judges that were not shown it.
"""

from collections.abc import Sequence

import dagster as dg
import numpy as np
import pandas as pd

from synpref_dagster.assets.judged import ask_judges, leak_spec, no_exemplar_leak
from synpref_dagster.assets.step import box, campaign_step
from synpref_dagster.assets.views import (
    embed_new,
    gold_exemplars,
    stage_one_views,
    verified_pairs,
)
from synpref_dagster.curation.crossfit import cross_fitted_margins
from synpref_dagster.curation.filtering import FlipGuard, GuardConfig, estimate_flip_guard
from synpref_dagster.curation.gold_silver import undecidable_content
from synpref_dagster.curation.labelling import EmbeddedPairs
from synpref_dagster.curation.pairs import PreferencePair
from synpref_dagster.curation.witnesses import (
    human_labels,
    pairs_to_relabel,
    witness_frame,
    witnesses_from_frame,
)
from synpref_dagster.resources.annotation import AttributeLabelling, PairEmbedding
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.reward_models import RewardModels
from synpref_dagster.resources.tracking import MlflowTracking
from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef

GROUP = "5_filtering"
Pairs = Sequence[PreferencePair]


def build_stage_two_labels(gold: dg.AssetKey, silver: dg.AssetKey) -> list[dg.AssetsDefinition]:
    """Flip evidence and relabelled pairs, resting on the last gold and silver."""
    verified = {"gold": dg.AssetIn(gold)}
    return [
        dg.asset(
            **box(GROUP, kinds={"pytorch", "parquet"}, pool="gpu"),
            ins=verified,
            check_specs=[leak_spec("flip_evidence")],
        )(flip_evidence),
        dg.asset(
            **box(GROUP, kinds={"python", "parquet"}, pool="judge_api"),
            ins={**verified, "silver": dg.AssetIn(silver)},
            check_specs=[leak_spec("relabelled_pairs")],
        )(relabelled_pairs),
    ]


def flip_evidence(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    judges: JudgePanel,
    tracking: MlflowTracking,
    vocabulary: dict[str, DatasetRef],
    unverified_pool: DatasetRef,
    attribute_labels: DatasetRef,
    pair_embeddings: DatasetRef,
    embedding: PairEmbedding,
    best_reward_model: ModelRef,
    gold: SelectionRef,
) -> dg.MaterializeResult:
    """What the three witnesses say about gold pairs they did not learn from: the flip guard."""
    settings = campaign.profile.filtering
    views = stage_one_views(unverified_pool, attribute_labels, pair_embeddings)
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        verified = campaign.frame(gold.kept)
        panel = ask_judges(
            step,
            judges,
            pool=vocabulary["unverified"],
            targets=lambda: verified_pairs(campaign, views, verified, embedding=embedding),
            gold=lambda: gold_exemplars(campaign, views, verified, embedding=embedding),
            inputs=[gold, attribute_labels, pair_embeddings],
        )

        def train_and_score(fold: int, train: Pairs, score: Pairs) -> np.ndarray:
            name = f"{step.name}/fold_{fold}"
            trained = models.train(name, train, [], vocabulary=vocabulary["clean"], context=context)
            return models.margins(trained.ref, score)

        def compute() -> pd.DataFrame:
            pairs = campaign.pairs(unverified_pool, list(verified["pair_id"]))
            return witness_frame(
                pairs,
                verified,
                judged=campaign.frame(panel["labels"]),
                best_margin=models.margins(best_reward_model, pairs),
                gold_margin=cross_fitted_margins(
                    pairs,
                    human_labels(pairs, verified),
                    num_folds=settings.cross_fit_folds,
                    seed=campaign.seed,
                    train_and_score=train_and_score,
                ),
            )

        evidence = step.dataset(
            compute,
            inputs=[gold, panel, best_reward_model, vocabulary["clean"]],
            params={"cross_fit_folds": settings.cross_fit_folds},
            part="witnesses",
        )
        config = GuardConfig(floor=settings.guard_floor)
        guard = estimate_flip_guard(witnesses_from_frame(campaign.frame(evidence)), config=config)
        checks = [no_exemplar_leak(step, panel)]
        return step.result(evidence, metrics=guard_metrics(guard), checks=checks)


def relabelled_pairs(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    judges: JudgePanel,
    labelling: AttributeLabelling,
    embedding: PairEmbedding,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    vocabulary: dict[str, DatasetRef],
    unverified_pool: DatasetRef,
    attribute_labels: DatasetRef,
    pair_embeddings: DatasetRef,
    pool_rewards: DatasetRef,
    gold: SelectionRef,
    silver: SelectionRef,
) -> dg.MaterializeResult:
    """Judge labels where the best RM disagrees with the source label or is unsure (p <= 0.5).

    Pairs that people or judges labelled in stage 1 are not asked about again.
    """
    views = stage_one_views(unverified_pool, attribute_labels, pair_embeddings)
    with campaign_step(context, campaign, tracking, {"rewards": pool_rewards}) as step:
        known = undecidable_content(campaign.frame(gold.dropped)).union(
            *(campaign.frame(part)["content_id"] for part in (gold.kept, silver.kept))
        )
        asked = pairs_to_relabel(
            campaign.frame(clean_pool.kept, ["pair_id", "content_id"]),
            campaign.frame(pool_rewards, ["pair_id", "best_margin"]),
            labelled=known,
            unsure_band=campaign.profile.filtering.unsure_band,
        )

        def targets() -> EmbeddedPairs:
            pairs = campaign.pairs(clean_pool.kept, list(asked["pair_id"]))
            folder = campaign.facts(pair_embeddings)["embedder"]
            return embed_new(pairs, labelling, embedding, folder=folder, asset=step.name)

        panel = ask_judges(
            step,
            judges,
            pool=vocabulary["unverified"],
            targets=targets,
            gold=lambda: gold_exemplars(
                campaign, views, campaign.frame(gold.kept), embedding=embedding
            ),
            inputs=[clean_pool, pool_rewards, gold, silver, pair_embeddings],
        )
        labels = campaign.frame(panel["labels"])
        return step.result(
            panel,
            metrics={
                "num_not_asked": clean_pool.kept.num_rows - len(asked),
                "num_relabelled": len(labels),
                "num_undecided": int((labels["label"] == 0).sum()),
                "source_label_upheld": float((labels["label"] > 0).mean()),
            },
            checks=[no_exemplar_leak(step, panel)],
        )


def guard_metrics(guard: FlipGuard) -> dict[str, float]:
    """The guard in numbers: how sure a flip must be, and how precise such flips are on gold."""
    return {
        "max_confidence": guard.max_confidence,
        "flip_precision": guard.precision.value,
        "flip_precision_low": guard.precision.low,
        "num_flips_on_gold": guard.precision.n,
        "floor": guard.floor,
    }
