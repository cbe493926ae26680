"""Jobs, the nightly schedule and the failure sensor: when what runs, never how.

Three ways of use: materialise in the UI, `nightly_filtering`, and a backfill of one model size.
Jobs are split by partitions: a job that mixed the unpartitioned campaign with the sizes would run
the campaign once per size.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from synpref_dagster.resources.campaign import SETTINGS, Campaign
from synpref_dagster.resources.hub_publishing import push_to_hub
from synpref_dagster.resources.judges import WAITING_FOR
from synpref_dagster.resources.pool_sources import LISTING, PoolSources

SIZED = ["skywork_reward_v2", "benchmark_scores", "model_release"]
CLOSING = ["leaderboard", "campaign_report"]
JUDGED = ["judge_scores", "judge_leaderboard"]
LEFT_OUT = dg.AssetSelection.tag("synpref/campaign", "left_out")  # made by hand only
KEPT_AT_NIGHT = ["vocabulary"]
RAW_POOL, SUBSET = dg.AssetKey("raw_pool"), dg.AssetKey("consistency_filtered_subset")
REASON_TAG = "synpref/reason"
MAX_TAG_LENGTH = 63
# Written by Dagster on every materialisation.
CODE_VERSION_TAG = "dagster/code_version"
DATA_VERSION_TAG = "dagster/data_version"
INPUT_VERSION_TAG = "dagster/input_data_version"
UNKNOWN_VERSION = "INITIAL"  # what Dagster records for an input without history
RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]

curate_pool = dg.define_asset_job(
    "curate_pool",
    selection=(
        dg.AssetSelection.all() - dg.AssetSelection.assets(*SIZED, *CLOSING, *JUDGED) - LEFT_OUT
    ),
    description="Everything from the raw pool to the evidence, without the releases.",
)
# A night brings pairs, no new models: what was fitted or trained on the pool stays as it is, so
# that old pairs keep their rewards and decisions and only new ones cost anything.
nightly_filtering_job = dg.define_asset_job(
    "filter_pool",
    selection=dg.AssetSelection.groups("1_pool", "5_filtering")
    - dg.AssetSelection.assets(*KEPT_AT_NIGHT)
    - LEFT_OUT
    | dg.AssetSelection.assets("attribute_labels", "pair_embeddings"),
    description="New pairs in, and stage 2 again: rewards, relabelling, decisions, recycled pairs.",
)
release_models = dg.define_asset_job(
    "release_models",
    selection=dg.AssetSelection.assets(*SIZED),
    description="Train and score the releases; one partition per model size.",
)
refresh_leaderboard = dg.define_asset_job(
    "refresh_leaderboard",
    selection=dg.AssetSelection.assets(*CLOSING),
    description="Leaderboard and report from what is there.",
)


score_judges = dg.define_asset_job(
    "score_judges",
    selection=dg.AssetSelection.assets(*JUDGED),
    description="The judges on the benchmarks, beside the releases. Real judges cost money.",
)


@dataclass(frozen=True)
class Automation:
    """What `build_defs` adds to the assets."""

    jobs: list[Any] = field(default_factory=list)
    schedules: list[dg.ScheduleDefinition] = field(default_factory=list)
    sensors: list[dg.SensorDefinition] = field(default_factory=list)


def build_automation() -> Automation:
    """Jobs, schedule and sensor; schedule and sensor start stopped."""
    return Automation(
        jobs=[
            curate_pool,
            nightly_filtering_job,
            release_models,
            refresh_leaderboard,
            score_judges,
            push_to_hub,
        ],
        schedules=[nightly_filtering],
        sensors=[report_failures],
    )


@dg.schedule(
    name="nightly_filtering",
    job=nightly_filtering_job,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    description="Re-run the filtering when pairs arrived or something it rests on changed.",
)
def nightly_filtering(
    context: dg.ScheduleEvaluationContext,
    campaign: dg.ResourceParam[Campaign],
    sources: dg.ResourceParam[PoolSources],
) -> dg.RunRequest | dg.SkipReason:
    """02:00 UTC: filter again when sources, settings, inputs or code changed, else say why not."""
    active = context.instance.get_runs(
        dg.RunsFilter(job_name=nightly_filtering_job.name, statuses=RUNNING), limit=1
    )
    if active:
        return dg.SkipReason(f"run {active[0].run_id} of {active[0].job_name} is still active")
    instance = context.instance
    reason = (
        changed_fact(instance, RAW_POOL, LISTING, now=sources.listing())
        or changed_fact(instance, SUBSET, SETTINGS, now=campaign.settings_fingerprint())
        or stale_reason(instance, filtering_steps(context))
    )
    if reason is None:
        return dg.SkipReason(
            "sources, settings, inputs and code of the filtering are those of its last run"
        )
    return dg.RunRequest(tags={REASON_TAG: tag_value(reason)})


@dataclass(frozen=True, kw_only=True)
class StepVersion:
    """What one asset of the filtering depends on."""

    key: dg.AssetKey
    code_version: str | None
    parents: tuple[dg.AssetKey, ...]


def filtering_steps(context: dg.ScheduleEvaluationContext) -> list[StepVersion]:
    """Every asset that the filtering job materialises, with its code version and inputs."""
    if context.repository_def is None:
        raise ValueError("the schedule needs its code location: evaluate it with a repository")
    layer = context.repository_def.get_job(nightly_filtering_job.name).asset_layer
    nodes = [layer.get(key) for key in sorted(layer.selected_asset_keys)]
    return [
        StepVersion(
            key=node.key, code_version=node.code_version, parents=tuple(sorted(node.parent_keys))
        )
        for node in nodes
    ]


def changed_fact(
    instance: dg.DagsterInstance, asset: dg.AssetKey, name: str, *, now: str
) -> str | None:
    """That a fact an asset was made under is another one now, or None.

    Args:
        instance: where the history is.
        asset: keeps the fact in its metadata; never materialized is a reason of its own.
        name: of the fact.
        now: what it is now.
    """
    event = instance.get_latest_materialization_event(asset)
    if event is None or event.asset_materialization is None:
        return None
    then = event.asset_materialization.metadata.get(name)
    return None if then is not None and then.value == now else f"{name} changed"


def stale_reason(instance: dg.DagsterInstance, steps: Sequence[StepVersion]) -> str | None:
    """Why materialising these assets would give something new now, or None.

    Each materialisation records the data version of every input that it read. A re-materialised
    input of the same content changes nothing; one that changed while a run was under way is seen,
    because what was read is compared, not when.

    Args:
        instance: where the history is.
        steps: the assets in question.
    """
    for step in steps:
        name = step.key.to_user_string()
        tags = _latest_tags(instance, step.key)
        if tags is None:
            return f"{name} never materialized"
        if tags.get(CODE_VERSION_TAG) != step.code_version:
            return f"{name} code changed"
        for parent in step.parents:
            used = tags.get(f"{INPUT_VERSION_TAG}/{parent.to_user_string()}")
            now = (_latest_tags(instance, parent) or {}).get(DATA_VERSION_TAG, UNKNOWN_VERSION)
            if now != used:
                return f"{parent.to_user_string()} changed"
    return None


def tag_value(text: str) -> str:
    """A text as a Dagster tag value: at most 63 letters, digits and `_ . -`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text.replace("/", "."))[:MAX_TAG_LENGTH]


def _latest_tags(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str] | None:
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return None
    return event.asset_materialization.tags or {}


@dg.run_failure_sensor(
    name="report_failures",
    description="Writes every failed run to the log; replace by your own notifier.",
)
def report_failures(context: dg.RunFailureSensorContext) -> None:
    """Say which job failed in which step and why, where the daemon's log is read."""
    events = context.get_step_failure_events()
    if events and all(waits_for(event) for event in events):
        return  # nothing went wrong: a sensor continues when the others are done
    context.log.error("%s failed: %s", context.dagster_run.job_name, context.failure_event.message)
    for event in events:
        context.log.error("%s: %s", event.step_key, first_cause(event))


def waits_for(event: dg.DagsterEvent) -> str | None:
    """What a step says that ended because others are at work; None for one that really failed."""
    told = event.step_failure_data.user_failure_data
    if told is None or WAITING_FOR not in told.metadata:
        return None
    return str(told.description)


def first_cause(event: dg.DagsterEvent) -> str:
    """The message of the exception that our code raised, without Dagster's wrapping and stacks."""
    told = event.step_failure_data.user_failure_data
    if told is not None and told.description:
        return str(told.description)  # of a `dg.Failure`, without the name of its class
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and _is_wrapping(error.cls_name):
        error = error.cause
    return error.message.strip() if error is not None else "no error was recorded"


def _is_wrapping(class_name: str | None) -> bool:
    return (class_name or "").startswith("Dagster")
