"""Box 2: preference attributes of the unverified pool, and the vectors retrieval works on."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.compute as pc

from synpref_dagster.assets.asking import judges_asked, spending
from synpref_dagster.assets.step import Step, box, campaign_step
from synpref_dagster.assets.views import attribute_rows, routed_in
from synpref_dagster.curation.retrieval.shards import embed_shard
from synpref_dagster.judges.batches.service import AllSent, all_sent
from synpref_dagster.judges.shards import label_shard
from synpref_dagster.pairs.tallies import tally
from synpref_dagster.publishing.plots import bar_plot
from synpref_dagster.resources.attributes import AttributeLabelling
from synpref_dagster.resources.campaign import ATTRIBUTES, FITTED_ON, POOL, Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, hash_json, iter_tables, lowest_ids
from synpref_dagster.storage.damage import made_whole
from synpref_dagster.storage.maps.apart import map_apart

GROUP = "2_attributes"
KINDS = ["task_category", "objectivity"]
MAX_FITTED = 200_000
"""Pairs that the embedder is fitted on, at most; ids are hashes, so the lowest are a fair draw."""


@dg.asset(**box(GROUP, kinds={"python", "scikitlearn"}, pool="judge_api", code_version="2"))
def attribute_labels(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    labelling: AttributeLabelling,
    tracking: MlflowTracking,
    unverified_pool: DatasetRef,
) -> dg.MaterializeResult:
    """The 5-tuple of every unverified pair: category, objectivity, controversiality, guideline.

    `confidence` is how sure the labeller is of the least sure of its three classifications.
    """
    with campaign_step(context, campaign, tracking, {"unverified_pool": unverified_pool}) as step:
        labelling.judges.say_estimate(unverified_pool)
        with judges_asked():
            labelled = map_apart(
                partial(label_shard, label=labelling.label_frame),
                step.ids(unverified_pool),
                routed_in(campaign, unverified_pool),
                beside=[campaign.texts(unverified_pool)],
                uri=campaign.uri("data", step.name),
                version=step.version,
                identified_by={"labeller": labelling.params()},
                meta={POOL: campaign.as_fact(unverified_pool)},
                executor=AllSent(),
                run_both=all_sent,
            )
        step.note(labelled.counts())
        step.note(spending(labelling.judges, step.name))
        if not labelling.judges.uses_endpoints:
            step.note({}, _classifier_quality(step, labelling))
        labels = labelled.ref
        rows = tally(iter_tables(labels, KINDS), KINDS, count="num_pairs")
        categories = rows.groupby("task_category")["num_pairs"].sum().sort_values(ascending=False)
        num_objective = rows.loc[rows["objectivity"] == "objective", "num_pairs"].sum()
        sure = (table["confidence"] for table in iter_tables(labels, ["confidence"]))
        num_pairs = labels.num_rows or np.nan  # nothing is known of an empty pool
        return step.result(
            labels,
            metrics={
                "num_pairs": labels.num_rows,
                "objective_share": float(num_objective / num_pairs),
                "mean_confidence": sum(pc.sum(each).as_py() or 0.0 for each in sure) / num_pairs,
            },
            plot=bar_plot(
                {str(name): int(count) for name, count in categories.items()},
                title="Task categories",
                value_label="pairs",
                percent=False,
            ),
        )


def build_pair_embeddings(features: Sequence[dg.AssetKey] = ()) -> dg.AssetsDefinition:
    """The vectors, resting on the features of a frozen backbone where they are made of these."""
    about = box(GROUP, kinds={"python", "scikitlearn"}, code_version="2")
    return dg.asset(**about, deps=features)(pair_embeddings)


def pair_embeddings(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    labelling: AttributeLabelling,
    embedding: PairEmbedding,
    executors: Executors,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    vocabulary: dict[str, DatasetRef],
) -> dg.MaterializeResult:
    """A vector of (x, a) for every unverified pair, under one embedder: both retrievals' eyes.

    What the embedder learns it learns on the vocabulary. An endpoint is asked about new pairs only.
    """
    with campaign_step(context, campaign, tracking, {"attributes": attribute_labels}) as step:
        pool = campaign.named_in(attribute_labels, POOL)
        fitted_on = vocabulary["unverified"]
        made_as = embedding.params()
        about: list[Any] = [made_as]
        if embedding.learns:
            about = [fitted_on.fingerprint, labelling.params(), made_as, campaign.seed]
        embedder = hash_json([step.version, *about])
        folder = campaign.local_folder("models", "pair_embedder", embedder[:16])
        fit = partial(_fit, step, embedding, folder, fitted_on=fitted_on)
        made_whole(
            folder,
            is_made=embedding.is_fitted(folder),
            make=partial(fit, attribute_labels=attribute_labels),
        )
        with judges_asked():
            embedded = map_apart(
                partial(embed_shard, embed=embedding.for_shards(str(folder))),
                attribute_labels,
                routed_in(campaign, pool),
                beside=[campaign.texts(pool)],
                uri=campaign.uri("data", step.name),
                version=step.version,
                identified_by={"embedder": embedder},
                meta={
                    "embedder": str(folder),
                    ATTRIBUTES: campaign.as_fact(attribute_labels),
                    FITTED_ON: campaign.as_fact(fitted_on),
                },
                executor=None if embedding.is_asked else executors.get(holds_model=True),
            )
        step.note(embedded.counts())
        step.note(embedding.spending())
        return step.result(
            embedded.ref,
            metrics={"num_vectors": embedded.ref.num_rows},
            facts={"embedding": made_as},
        )


def _fit(
    step: Step,
    embedding: PairEmbedding,
    folder: Path,
    *,
    fitted_on: DatasetRef,
    attribute_labels: DatasetRef,
) -> None:
    campaign = step.campaign
    if not embedding.learns:
        embedding.fit([], [], folder=folder, seed=campaign.seed)
        return
    ids = lowest_ids(fitted_on, MAX_FITTED)
    labels = campaign.rows(attribute_labels, ids)
    if len(labels) < len(ids):
        raise dg.Failure(
            f"{len(ids) - len(labels)} of {len(ids)} pairs that the embedder is fitted on are no "
            "longer in the unverified pool: materialize `vocabulary`, and then this asset",
            allow_retries=False,
        )
    pairs = campaign.pairs(fitted_on, ids)
    rows = attribute_rows(labels, [pair.pair_id for pair in pairs])
    embedding.fit(pairs, rows, folder=folder, seed=campaign.seed)


def _classifier_quality(step: Step, labelling: AttributeLabelling) -> dict[str, Any]:
    """What is known about the built-in classifier, measured once."""
    measured = step.dataset(
        labelling.measured, inputs=[], params={"labeller": labelling.params()}, part="measured"
    )
    rows = step.campaign.frame(measured).to_dict("records")
    return {"classifier_on_unseen_prompts_of_the_world": rows}
