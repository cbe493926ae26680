"""The only place where assets, checks, resources, jobs and schedules meet."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from synpref_dagster.assets import (
    attributes,
    curated_data,
    evaluation,
    evidence,
    filtering,
    iteration,
    judge_leaderboard,
    model_release,
    people_audit,
    pool,
    pool_reports,
    release,
    report,
    seed,
    stage_pools,
    stage_two_labels,
    stage_two_models,
    strict_overlaps,
    vocabulary,
)
from synpref_dagster.automation import build_automation
from synpref_dagster.judge_automation import judge_sensors
from synpref_dagster.resources.annotation import AttributeLabelling, PairEmbedding
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.hub_publishing import Hub
from synpref_dagster.resources.io_managers import RefIOManager
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.pool_sources import PoolSources
from synpref_dagster.resources.reviewers import Reviewers
from synpref_dagster.resources.reward_models import RewardModels
from synpref_dagster.resources.sealed_truth import SealedTruth
from synpref_dagster.resources.shards import Executors
from synpref_dagster.resources.tracking import MlflowTracking
from synpref_dagster.review_automation import (
    asking_assets,
    people_behind,
    people_sensors,
    with_people,
)
from synpref_dagster.settings import Profile, load_profile, mlflow_artifact_root, mlflow_uri

PRELOAD = ["dagster", "synpref_dagster.definitions"]


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
    chosen = profile if isinstance(profile, Profile) else load_profile(profile)
    people = people_behind(chosen)
    iterations = iteration.build_iterations(chosen.iterations, people)
    last = iterations[-1]
    reward_models = [each.reward_model for each in iterations]
    assets: list[Any] = [
        *dg.load_assets_from_modules(
            [pool, stage_pools, vocabulary, attributes, seed, evaluation, model_release, report]
        ),
        *pool.build_clean_pool(drops_personal_data=chosen.pool.pii.action == "drop"),
        strict_overlaps.strict_overlaps,
        *pool_reports.build_pool_reports(left_out=chosen.pool.reports_left_out()),
        seed.build_verified_seed(people),
        *(asset for each in iterations for asset in each.assets),
        *stage_two_models.build_stage_two_models(reward_models, last.gold),
        *stage_two_labels.build_stage_two_labels(last.gold, last.silver),
        *filtering.build_consistency_filter(last.gold, last.silver),
        *release.build_release(last.gold, last.silver),
        *curated_data.build_curated_data(last.gold, last.silver),
        *judge_leaderboard.build_judge_leaderboard(last.gold),
        *evidence.build_evidence(reward_models, last.gold, last.silver),
        people_audit.build_people_audit(list(asking_assets(chosen))),
    ]
    checks = [
        pool.zero_contamination,
        strict_overlaps.zero_strict_overlap,
        *(check for each in iterations for check in each.checks),
    ]
    automation = build_automation()
    return dg.Definitions(
        assets=with_people(assets, chosen),
        asset_checks=checks,
        jobs=automation.jobs,
        schedules=automation.schedules,
        sensors=[*automation.sensors, *people_sensors(chosen), *judge_sensors(chosen)],
        resources={**build_resources(chosen), **(resource_overrides or {})},
        executor=_executor(chosen),
        loggers=dict(loggers or {}),
    )


def build_resources(profile: Profile) -> dict[str, Any]:
    """The resources of a profile, by key."""
    root = profile.store_root()
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=root)
    sources = PoolSources(campaign=campaign)
    judges = JudgePanel(campaign=campaign)
    return {
        "campaign": campaign,
        "sources": sources,
        "reviewers": Reviewers(sources=sources),
        "truth": SealedTruth(campaign=campaign, sources=sources),
        "labelling": AttributeLabelling(judges=judges),
        "embedding": PairEmbedding(),
        "judges": judges,
        "models": RewardModels(campaign=campaign),
        "executors": Executors(campaign=campaign),
        "hub": Hub(),
        "tracking": MlflowTracking(
            tracking_uri=mlflow_uri(),
            experiment=profile.name,
            campaign=f"{profile.name}-seed-{profile.seed}",
            artifact_root=mlflow_artifact_root(),
            copy_checkpoints=False,
        ),
        "refs": RefIOManager(base_uri=f"{root}/refs"),
        "io_manager": RefIOManager(base_uri=f"{root}/refs"),
    }


def _executor(profile: Profile) -> dg.ExecutorDefinition:
    if profile.executor == "in_process":
        return dg.in_process_executor
    return dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": PRELOAD}}}
    )
