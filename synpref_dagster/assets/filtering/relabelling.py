"""Box 5, the judges as third witness, and the evidence that the flip guard rests on.

The evidence is cross-fitted on gold: every gold pair is seen by a gold RM that did not train on its
conversation, and by judges that were not shown it.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.assets.asking import (
    ShardTargets,
    ask_judges,
    ask_judges_by_shard,
    leak_spec,
    no_exemplar_leak,
    no_leak_in_any_shard,
)
from synpref_dagster.assets.step import Step, box, campaign_step
from synpref_dagster.assets.views import (
    PoolViews,
    embed_new,
    gold_exemplars,
    stage_one_views,
    verified_pairs,
)
from synpref_dagster.curation.filtering.content_labels import labelled_table
from synpref_dagster.curation.filtering.crossfit import cross_fitted_margins
from synpref_dagster.curation.filtering.flip_guard import (
    FlipGuard,
    GuardConfig,
    estimate_flip_guard,
)
from synpref_dagster.curation.filtering.shards import candidate_shard
from synpref_dagster.curation.filtering.witnesses import (
    human_labels,
    witness_frame,
    witnesses_from_frame,
)
from synpref_dagster.curation.judging.labelling import exemplar_fingerprint, target_fingerprint
from synpref_dagster.curation.verification.gold_silver import undecidable_content
from synpref_dagster.pairs.ids import first_of_each, repeated_keys
from synpref_dagster.pairs.record import PreferencePair, id_index
from synpref_dagster.resources.attributes import AttributeLabelling
from synpref_dagster.resources.campaign import FITTED_ON, POOL, Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef, iter_tables, map_shards

GROUP = "5_filtering"
Pairs = Sequence[PreferencePair]


@dg.asset(
    **box(GROUP, kinds={"pytorch", "parquet"}, pool="gpu", code_version="2"),
    check_specs=[leak_spec("flip_evidence")],
)
def flip_evidence(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    judges: JudgePanel,
    tracking: MlflowTracking,
    vocabulary: dict[str, DatasetRef],
    attribute_labels: DatasetRef,
    pair_embeddings: DatasetRef,
    embedding: PairEmbedding,
    best_reward_model: ModelRef,
    gold: SelectionRef,
) -> dg.MaterializeResult:
    """What the three witnesses say about gold pairs they did not learn from: the flip guard."""
    settings = campaign.profile.filtering
    views = stage_one_views(campaign, attribute_labels, pair_embeddings)
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        verified = campaign.labels_in(views["pool"], campaign.frame(gold.kept))
        panel = _ask_about_gold(
            step, judges, verified, views=views, embedding=embedding, pool=vocabulary["unverified"]
        )

        def train_and_score(fold: int, train: Pairs, score: Pairs) -> np.ndarray:
            name = f"{step.name}/fold_{fold}"
            trained = models.train(name, train, [], vocabulary=vocabulary["clean"], context=context)
            return models.margins(trained.ref, score)

        def compute() -> pd.DataFrame:
            pairs = campaign.pairs(views["pool"], list(verified["pair_id"]))
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
            inputs=[gold.kept, panel, best_reward_model, vocabulary["clean"]],
            params={"cross_fit_folds": settings.cross_fit_folds},
            part="witnesses",
        )
        config = GuardConfig(floor=settings.guard_floor)
        guard = estimate_flip_guard(witnesses_from_frame(campaign.frame(evidence)), config=config)
        checks = [no_exemplar_leak(step, panel)]
        return step.result(evidence, metrics=guard_metrics(guard), checks=checks)


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, pool="judge_api", code_version="2"),
    check_specs=[leak_spec("relabelled_pairs")],
)
def relabelled_pairs(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    judges: JudgePanel,
    labelling: AttributeLabelling,
    embedding: PairEmbedding,
    executors: Executors,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    pair_embeddings: DatasetRef,
    pool_rewards: DatasetRef,
    gold: SelectionRef,
    silver: SelectionRef,
) -> dg.MaterializeResult:
    """Judge labels where the best RM disagrees with the source label or is unsure (p <= 0.5).

    Pairs that people or judges labelled in stage 1 are not asked about again. Shard by shard: a
    night asks about the pairs that came, and finds the rest.
    """
    views = stage_one_views(campaign, attribute_labels, pair_embeddings)
    with campaign_step(context, campaign, tracking, {"rewards": pool_rewards}) as step:
        clean = campaign.named_in(pool_rewards, POOL)
        asked = _asked(step, executors, clean, pool_rewards, gold=gold, silver=silver)
        folder = campaign.facts(pair_embeddings)["embedder"]
        panel = ask_judges_by_shard(
            step,
            judges,
            pool=campaign.named_in(pair_embeddings, FITTED_ON),
            targets=ShardTargets(
                asked=asked,
                texts=campaign.texts(clean),
                embed=partial(
                    embed_new,
                    labelling=labelling,
                    embedding=embedding,
                    folder=folder,
                    asset=step.name,
                ),
                # Its folder is named by what the embedder was fitted on and how.
                embedded_by={"labeller": labelling.params(), "embedder": Path(folder).name},
            ),
            gold=gold_exemplars(campaign, views, campaign.frame(gold.kept), embedding=embedding),
        )
        return step.result(
            panel,
            metrics={
                "num_not_asked": clean.num_rows - asked.num_rows,
                **_label_metrics(panel["labels"]),
            },
            checks=[no_leak_in_any_shard(step, panel)],
        )


def _ask_about_gold(
    step: Step,
    judges: JudgePanel,
    gold: pd.DataFrame,
    *,
    views: PoolViews,
    embedding: PairEmbedding,
    pool: DatasetRef,
) -> dict[str, DatasetRef]:
    """What the panel says about every gold pair, shown others of the training part."""
    asked = verified_pairs(step.campaign, views, gold, embedding=embedding)
    shown = gold_exemplars(step.campaign, views, gold, embedding=embedding)
    return ask_judges(
        step,
        judges,
        pool=pool,
        targets=lambda: asked,
        gold=lambda: shown,
        # Not the tables behind the views: they grow with every new file of stage 1, and judges
        # asked again may answer otherwise, which would change the guard and old decisions.
        inputs=[target_fingerprint(asked), exemplar_fingerprint(*shown)],
    )


def _asked(
    step: Step,
    executors: Executors,
    clean: DatasetRef,
    rewards: DatasetRef,
    *,
    gold: SelectionRef,
    silver: SelectionRef,
) -> DatasetRef:
    """The pairs that judges are asked about, one shard per clean shard, each content once."""
    campaign = step.campaign

    def labelled() -> pa.Table:
        known = undecidable_content(campaign.frame(gold.dropped)).union(
            *(
                campaign.frame(part, ["content_id"])["content_id"]
                for part in (gold.kept, silver.kept)
            )
        )
        ids = id_index(sorted(known))
        return labelled_table(pd.DataFrame({"content_id": ids, "pair_id": ids, "label": 0}))

    known = step.dataset(labelled, inputs=[gold, silver], part="labelled")
    candidates = map_shards(
        partial(candidate_shard, labelled=known),
        clean,
        beside=[rewards],
        uri=campaign.uri("data", step.name, "candidates"),
        version=step.version,
        params={"unsure_band": campaign.profile.filtering.unsure_band},
        identified_by={"labelled": known.fingerprint},
        executor=executors.get(),
    ).ref

    def once() -> Iterator[pa.Table]:
        repeated = repeated_keys(iter_tables(candidates, ["content_id"]), "content_id")
        return first_of_each(iter_tables(candidates), repeated, "content_id")

    return step.dataset(once, inputs=[candidates], part="asked")


def _label_metrics(labels: DatasetRef) -> dict[str, float]:
    columns = [table.column("label") for table in iter_tables(labels, ["label"])]
    num_undecided, num_upheld = (
        sum(pc.sum(found(column, 0)).as_py() or 0 for column in columns)
        for found in (pc.equal, pc.greater)
    )
    return {
        "num_relabelled": labels.num_rows,
        "num_undecided": num_undecided,
        "source_label_upheld": num_upheld / labels.num_rows if labels.num_rows else np.nan,
    }


def guard_metrics(guard: FlipGuard) -> dict[str, float]:
    """The guard in numbers: how sure a flip must be, and how precise such flips are on gold."""
    return {
        "max_confidence": guard.max_confidence,
        "flip_precision": guard.precision.value,
        "flip_precision_low": guard.precision.low,
        "num_flips_on_gold": guard.precision.n,
        "floor": guard.floor,
    }
