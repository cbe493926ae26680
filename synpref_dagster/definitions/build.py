"""The only place where assets, checks, resources, jobs and schedules meet."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from synpref_dagster.assets import attributes, seed
from synpref_dagster.assets.evidence import (
    claims,
    judges as judge_audit,
    people as people_audit,
    report,
)
from synpref_dagster.assets.filtering import decision, relabelling, rewards
from synpref_dagster.assets.iteration import factory, last
from synpref_dagster.assets.pool import (
    clean,
    personal_data,
    preview,
    raw,
    stages,
    strict_overlaps,
    vocabulary,
)
from synpref_dagster.assets.pool.backbone_features import build_features
from synpref_dagster.assets.pool.same_meaning import build_meaning_report
from synpref_dagster.assets.release import benchmarks, data, folder, judges, training
from synpref_dagster.assets.release.sizes import model_sizes
from synpref_dagster.definitions.failures import report_failures
from synpref_dagster.definitions.jobs import campaign_jobs
from synpref_dagster.definitions.loaded import LoadedProfile
from synpref_dagster.definitions.nightly import nightly_schedule
from synpref_dagster.definitions.pools import heed_free_slots
from synpref_dagster.definitions.prefixed import with_prefix
from synpref_dagster.definitions.push_to_hub import push_to_hub
from synpref_dagster.definitions.releasing import release_sensor
from synpref_dagster.definitions.waiting_for_batches import judge_sensors
from synpref_dagster.definitions.waiting_for_people import (
    asking_assets,
    people_behind,
    people_sensors,
    with_people,
)
from synpref_dagster.resources.attributes import AttributeLabelling
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.hub import Hub
from synpref_dagster.resources.io_managers import RefIOManager
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.people import Reviewers
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.resources.truth import SealedTruth
from synpref_dagster.settings.outlets import no_secrets_in_logs
from synpref_dagster.settings.profile import (
    Profile,
    load_profile,
    mlflow_artifact_root,
    mlflow_public_url,
    mlflow_uri,
    wanted_profile,
)
from synpref_dagster.settings.secrets import kept

PRELOAD = ["dagster", "synpref_dagster.definitions.preload"]
LABELS = [dg.AssetKey("relabelled_pairs"), dg.AssetKey("flip_evidence")]
"""The last labels of judges; with judges that cost money, reports that ask them come after."""
ASSET_MODULES = [
    *(preview, raw, clean, strict_overlaps, stages, vocabulary, attributes, seed),
    *(relabelling, decision),
    *(benchmarks, data, judges),
    *(claims, report),
]
"""Assets stand in them as they are; what `build_defs` adds to them depends on the profile."""


def build_defs(
    profile: Profile | str | None = None,
    *,
    resource_overrides: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """The whole project for one profile.

    Args:
        profile: a profile, its name, or None for `SYNPREF_PROFILE`.
        resource_overrides: resources that replace the profile's, by key.
        loggers: Dagster loggers for runs started in this process.
    """
    no_secrets_in_logs()
    heed_free_slots()  # a run's process has opened its instance before it loads this
    name = None if isinstance(profile, Profile) else profile or wanted_profile()
    chosen = profile if isinstance(profile, Profile) else load_profile(name)
    loaded = LoadedProfile(profile=chosen, name=name, build=build_defs)
    executor = _executor(chosen)
    made, iterations = _campaign_assets(chosen, people_behind(chosen))
    assets = with_prefix(with_people(made, chosen), chosen.key_prefix)
    keys = [key for each in assets if isinstance(each, dg.AssetsDefinition) for key in each.keys]
    jobs = campaign_jobs(chosen.key_prefix, keys=keys, executor=executor)
    checks = [
        clean.zero_contamination,
        strict_overlaps.zero_strict_overlap,
        *(check for each in iterations for check in each.checks),
    ]
    return dg.Definitions(
        assets=assets,
        asset_checks=with_prefix(checks, chosen.key_prefix),
        jobs=[*jobs, push_to_hub],
        schedules=[nightly_schedule(loaded)],
        sensors=[
            report_failures,
            release_sensor(loaded),
            *people_sensors(loaded),
            *judge_sensors(loaded, jobs),
        ],
        resources={**build_resources(chosen), **(resource_overrides or {})},
        executor=executor,
        loggers=dict(loggers or {}),
    )


def _campaign_assets(
    chosen: Profile, people: Mapping[dg.AssetKey, Sequence[dg.AssetKey]]
) -> tuple[list[Any], list[factory.IterationAssets]]:
    """All assets of a campaign, and its iterations, which bring checks of their own."""
    features = build_features(chosen)
    features_key = [each.key for each in features]
    trained_on = features_key if chosen.reward_model.backend == "frozen" else []
    looks = chosen.embedding.kind == "backbone" or chosen.judges.kind == "features"
    iterations = factory.build_iterations(chosen.iterations, people, trained_on)
    paid_first = LABELS if chosen.judges.cost_money else []
    sizes = model_sizes(chosen)
    drops = chosen.pool.pii.action == "drop"
    reward_models = [each.reward_model for each in iterations]
    assets: list[Any] = [
        *dg.load_assets_from_modules(ASSET_MODULES),
        clean.build_clean_pool(drops_personal_data=drops),
        *personal_data.build_pool_reports(
            left_out=chosen.pool.reports_left_out(),
            # Where its findings decide what stays in the pool, it is no report.
            after=[] if drops else paid_first,
        ),
        attributes.build_pair_embeddings(features_key if looks else []),
        *build_meaning_report(chosen.embedding),
        judge_audit.build_judge_audit(paid_first),
        seed.build_verified_seed(people),
        *(asset for each in iterations for asset in each.assets),
        *last.build_last(iterations[-1].gold, iterations[-1].silver),
        *features,
        rewards.build_best_model(reward_models),
        *rewards.build_witnesses(trained_on),
        training.build_model(sizes),
        benchmarks.build_scores(sizes),
        folder.build_release(sizes),
        claims.build_iteration_curve(reward_models),
        people_audit.build_people_audit(list(asking_assets(chosen))),
    ]
    return assets, iterations


def build_resources(profile: Profile) -> dict[str, Any]:
    """The resources of a profile, by key."""
    root = profile.store_root()
    campaign = Campaign.of(profile)
    sources = PoolSources(campaign=campaign)
    judges = JudgePanel(campaign=campaign)
    models = RewardModels(campaign=campaign)
    refs = RefIOManager(base_uri=f"{root}/refs", key_prefix=profile.key_prefix)
    return {
        "campaign": campaign,
        "sources": sources,
        "reviewers": Reviewers(sources=sources),
        "truth": SealedTruth(campaign=campaign, sources=sources),
        "labelling": AttributeLabelling(judges=judges),
        "embedding": PairEmbedding(models=models, judges=judges),
        "judges": judges,
        "models": models,
        "executors": Executors(campaign=campaign),
        "hub": Hub(),
        "tracking": MlflowTracking(
            tracking_uri=kept(mlflow_uri()),
            experiment=profile.name,
            campaign=profile.campaign_name(),
            artifact_root=mlflow_artifact_root(),
            key_prefix=profile.key_prefix,
            public_url=mlflow_public_url(),
            spool=f"{root}/mlflow_waiting",
        ),
        "refs": refs,
        "io_manager": refs,
    }


def _executor(profile: Profile) -> dg.ExecutorDefinition:
    if profile.executor == "in_process":
        return dg.in_process_executor
    return dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": PRELOAD}}}
    )
