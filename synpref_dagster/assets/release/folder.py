"""Box 6, the released model: folder, card, manifest, registered version, and the gates."""

import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster import __version__
from synpref_dagster.assets.release.benchmarks import SCORED, results_from_frame
from synpref_dagster.assets.release.lineage import lineage, made_at
from synpref_dagster.assets.release.trained_on import facts_of, sources_now
from synpref_dagster.assets.step import Step, box, campaign_step
from synpref_dagster.benchmarks.gates import Figure, Scorecard
from synpref_dagster.publishing.release.cards import render_model_card
from synpref_dagster.publishing.release.facts import library_versions, model_facts
from synpref_dagster.publishing.release.folder import CARD, registered_name, write_release
from synpref_dagster.publishing.release.terms import LOADING_MODEL, check_licences, terms_files
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.reward.folders import finished_training, folder_fingerprint
from synpref_dagster.storage import DatasetRef, ModelRef

GROUP = "6_release"
WAITS = "registered, and held against the champion, when MLflow answers again"


def build_release(sizes: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """The releases and their gates, one partition per size."""
    with warnings.catch_warnings():
        # A check with one result per size is what the gates are: not to be told at every start.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        gates = dg.AssetCheckSpec(
            "promotion_gates",
            asset="model_release",
            partitions_def=sizes,
            description="Gold accuracy beats chance, and nothing is worse than the champion.",
        )
    return dg.asset(
        **box(GROUP, kinds={"huggingface", "mlflow"}, code_version="2"),
        partitions_def=sizes,
        check_specs=[gates],
    )(model_release)


def model_release(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    tracking: MlflowTracking,
    skywork_reward_v2: ModelRef,
    benchmark_scores: dict[str, DatasetRef],
) -> dg.MaterializeResult:
    """One size as anybody can load it: weights, card from facts, manifest of all that went in.

    What it says of its data was kept with the model when it was trained.
    The version becomes `candidate` in the registry, and `champion` when every gate passes; a gate
    that fails leaves the champion where it is.
    """
    size = context.partition_key
    with campaign_step(context, campaign, tracking) as step:
        refuse_other_scores(step, skywork_reward_v2, benchmark_scores)
        refuse_other_weights(skywork_reward_v2)
        facts_of_data = facts_of(campaign, skywork_reward_v2)
        by_source = sources_now(sources, facts_of_data)
        check_licences(by_source, campaign.profile.export.allowed_licences)
        checkpoint = Path(skywork_reward_v2.uri)
        training = finished_training(checkpoint)
        results = results_from_frame(campaign.frame(benchmark_scores["results"]))
        facts = model_facts(
            campaign.profile,
            size,
            training=training,
            results=results,
            data=facts_of_data,
            checkpoint=checkpoint,
        )
        folder = write_release(
            checkpoint,
            campaign.local_folder("releases", size) / skywork_reward_v2.fingerprint[:16],
            texts=_texts(facts, skywork_reward_v2, by_source),
            manifest=_manifest(step, skywork_reward_v2, facts_of_data, training),
        )
        card = scorecard(training, campaign.frame(benchmark_scores["results"]), sources)
        name = registered_name(campaign.profile.name, size)
        gates, version = step.tracked.release(
            name,
            folder,
            fingerprint=skywork_reward_v2.fingerprint,
            card=card,
            min_gold_accuracy=campaign.profile.gates.min_gold_accuracy,
        )
        failed = [gate.reason for gate in gates if not gate.passed]
        return step.result(
            ModelRef(uri=str(folder), fingerprint=skywork_reward_v2.fingerprint),
            metrics={"gates_passed": len(gates) - len(failed), "gates_failed": len(failed)},
            facts={
                "folder": dg.MetadataValue.path(str(folder)),
                "registered": name + (f" version {version}" if version else f": {WAITS}"),
                "gates": [asdict(gate) for gate in gates],
            },
            checks=[_gates_check(failed, _champion_by(card) if version else WAITS)],
        )


def refuse_other_scores(step: Step, model: ModelRef, scores: dict[str, DatasetRef]) -> None:
    """Refuse to release a model under the scores of another one.

    Raises:
        ValueError: naming the nights of both.
    """
    size, instance = step.context.partition_key, step.context.instance
    again = "Materialize benchmark_scores of this size again"
    if SCORED not in scores:
        raise ValueError(f"the scores of {size} do not say of which model they are. {again}")
    scored = str(step.campaign.frame(scores[SCORED])["model"].iloc[0])
    if scored != model.fingerprint:
        made = partial(made_at, instance, step.campaign.key("skywork_reward_v2"), partition=size)
        raise ValueError(
            f"the scores of {size} are of the model of {made(version=scored)}, and the model to be "
            f"released is that of {made(version=model.fingerprint)}. {again}"
        )


def refuse_other_weights(model: ModelRef) -> None:
    """Refuse a checkpoint folder that something else was written to since.

    Raises:
        ValueError: the files are not those of the model.
    """
    if folder_fingerprint(model.uri) != model.fingerprint:
        raise ValueError(
            f"{model.uri} holds other files than the model that was trained there: "
            "materialize skywork_reward_v2 of this size again"
        )


def _texts(
    facts: dict[str, Any], model: ModelRef, by_source: list[dict[str, Any]]
) -> dict[str, str]:
    """Card and terms of a release by file name."""
    about = {**facts, "fingerprint": model.fingerprint, "version": __version__}
    terms = terms_files(by_source, loading=LOADING_MODEL, subject=facts["licence_text"])
    return {CARD: render_model_card(about), **terms}


def scorecard(training: dict[str, Any], results: pd.DataFrame, sources: PoolSources) -> Scorecard:
    """What the gates look at: gold accuracy and every headline, with intervals."""
    gold = training["report"]["evaluation"] or dict.fromkeys(("accuracy", "low", "high"), 0.0)
    return Scorecard(
        gold=Figure(value=gold["accuracy"], low=gold["low"], high=gold["high"]),
        benchmarks={
            str(row.benchmark): Figure(
                value=float(row.headline), low=float(row.low), high=float(row.high)
            )
            for row in results.itertuples()
        },
        suite=sources.benchmark_fingerprint(),
    )


def _gates_check(failed: list[str], otherwise: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name="promotion_gates",
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(failed) or otherwise,
    )


def _champion_by(card: Scorecard) -> str:
    return "champion" if card.benchmarks else "champion on gold alone: no benchmark was named"


def _manifest(
    step: Step, model: ModelRef, data: dict[str, Any], training: dict[str, Any]
) -> dict[str, Any]:
    prefix = step.campaign.profile.key_prefix
    key = step.campaign.key("skywork_reward_v2")
    size = step.context.partition_key
    return {
        "model_size": size,
        "weights": model.fingerprint,
        "trained_on": data["inputs"],
        "profile": step.campaign.profile.model_dump(mode="json", exclude={"key_prefix"}),
        "seeds": {"campaign": step.campaign.seed, "training": training["config"].get("seed")},
        "training": {
            "config": training["config"],
            "data_fingerprint": training["report"]["fingerprint"],
            "num_pairs": training["report"]["num_pairs"],
        },
        "libraries": library_versions(),
        "assets": lineage(step.context.instance, key, partition=size, prefix=prefix),
    }
