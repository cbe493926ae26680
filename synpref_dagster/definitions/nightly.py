"""The nightly schedule: whether a night has anything to do, and why it runs.

Each materialisation records the versions of what it read; the schedule compares them with what is
there now.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from synpref_dagster.assets.run_guard import RELOAD
from synpref_dagster.definitions.jobs import CURATE_POOL, ENDING_A_NIGHT, FILTER_POOL, active_run
from synpref_dagster.definitions.loaded import LoadedProfile
from synpref_dagster.people.queueing import BatchStatus
from synpref_dagster.resources.campaign import SETTINGS, Campaign, key_of, name_of, told_as
from synpref_dagster.resources.sources import LISTING, PoolSources
from synpref_dagster.settings.profile import Profile
from synpref_dagster.storage import hash_json

RAW_POOL, SUBSET = "raw_pool", "consistency_filtered_subset"
REASON_TAG = "synpref/reason"
CODE_TAG = "synpref/code_fingerprint"  # of a run: the code of the location that asked for it
MAX_TAG_LENGTH = 63
NUM_NAMED = 3  # settings or files in a reason
# Written by Dagster on every materialisation.
CODE_VERSION_TAG = "dagster/code_version"
DATA_VERSION_TAG = "dagster/data_version"
INPUT_VERSION_TAG = "dagster/input_data_version"
UNKNOWN_VERSION = "INITIAL"  # what Dagster records for an input without history


def nightly_schedule(loaded: LoadedProfile) -> dg.ScheduleDefinition:
    """The schedule `nightly_filtering` of a campaign."""

    @dg.schedule(
        name="nightly_filtering",
        job_name=FILTER_POOL,
        cron_schedule="0 2 * * *",
        execution_timezone="UTC",
        description="Re-run the filtering when pairs arrived or something it rests on changed.",
    )
    def nightly_filtering(
        context: dg.ScheduleEvaluationContext,
        campaign: dg.ResourceParam[Campaign],
        sources: dg.ResourceParam[PoolSources],
    ) -> dg.RunRequest | dg.SkipReason:
        """02:00 UTC: filter again when sources, settings, inputs or code changed, else say why."""
        now = loaded.tick(context.instance)
        if isinstance(now, dg.SkipReason):
            return now
        if now.profile_json != loaded.profile.model_dump_json():
            campaign, sources = now, PoolSources(campaign=now)
        idle = idle_reason(context.instance, now)
        if idle is not None:
            return dg.SkipReason(idle)
        steps = filtering_steps(context, loaded.prefix)
        reason = night_reason(context.instance, campaign, sources, steps, prefix=loaded.prefix)
        if reason is None:
            return dg.SkipReason(
                other_code_reason(context.instance, steps, prefix=loaded.prefix)
                or "sources, settings, inputs and code of the filtering are those of its last run"
            )
        context.log.info(f"a night runs: {reason}")
        asked = {REASON_TAG: tag_value(reason), CODE_TAG: code_fingerprint(steps)}
        return dg.RunRequest(tags={**now.run_tags(), **asked})

    return nightly_filtering


def idle_reason(instance: dg.DagsterInstance, campaign: Campaign) -> str | None:
    """Why no night may run whatever changed, or None.

    A night brings new pairs into a campaign that is done. It neither begins one, which may cost
    money and people's time, nor goes on where people are asked: what they say decides first.
    """
    prefix = campaign.profile.key_prefix
    active = active_run(instance, [FILTER_POOL, CURATE_POOL], prefix)
    if active:
        return f"run {active.run_id} of {active.job_name} is still active"
    subset = key_of(SUBSET, prefix)
    if instance.get_latest_materialization_event(subset) is None:
        return (
            f"the campaign has not finished a first time ({subset.to_user_string()} was never "
            f"materialized): run the job {CURATE_POOL} or `synpref run`, nights follow it"
        )
    return waiting_reason(campaign.profile)


def waiting_reason(profile: Profile) -> str | None:
    """Whom a campaign waits for, in a sentence; None when no people are asked."""
    if profile.people.backend == "recorded":
        return None
    from synpref_dagster.people.campaign import People
    from synpref_dagster.people.ledger.database import LedgerAwayError

    try:
        waiting = People(profile.people, campaign=profile.campaign_name()).waiting()
    except LedgerAwayError as error:
        return f"whether people are asked cannot be seen: {error}"
    return told_waiting(waiting, on_page=profile.people.backend == "page") if waiting else None


def told_waiting(statuses: Sequence[BatchStatus], *, on_page: bool) -> str:
    """How far people are with the batches before them.

    Args:
        statuses: of these batches.
        on_page: whether they answer on the page, whose accounts say who could.
    """
    return "waiting for people: " + ", ".join(
        f"{each.batch.asset} {each.num_finished} of {each.batch.num_items}"
        + (f" ({each.missing})" if on_page else "")
        for each in statuses
    )


def night_reason(
    instance: dg.DagsterInstance,
    campaign: Campaign,
    sources: PoolSources,
    steps: Sequence["StepVersion"],
    *,
    prefix: str,
) -> str | None:
    """What changed since the last filtering, by name; None when nothing did."""
    return (
        changed_fact(
            instance,
            key_of(RAW_POOL, prefix),
            LISTING,
            now=sources.listing(),
            told=sources.listed,
        )
        or changed_fact(
            instance,
            key_of(SUBSET, prefix),
            SETTINGS,
            now=campaign.settings_fingerprint(),
            told=campaign.settings_told,
            since=campaign.settings_since,
        )
        or stale_reason(instance, steps, prefix=prefix)
    )


@dataclass(frozen=True, kw_only=True)
class StepVersion:
    """What one asset of the filtering depends on."""

    key: dg.AssetKey
    code_version: str | None
    parents: tuple[dg.AssetKey, ...]


def filtering_steps(context: dg.ScheduleEvaluationContext, prefix: str = "") -> list[StepVersion]:
    """Every asset up to the decisions that the filtering job materialises: code version, inputs."""
    if context.repository_def is None:
        raise ValueError("the schedule needs its code location: evaluate it with a repository")
    layer = context.repository_def.get_job(FILTER_POOL).asset_layer
    ending = {key_of(name, prefix) for name in ENDING_A_NIGHT}
    nodes = [layer.get(key) for key in sorted(layer.selected_asset_keys - ending)]
    return [
        StepVersion(
            key=node.key, code_version=node.code_version, parents=tuple(sorted(node.parent_keys))
        )
        for node in nodes
    ]


def changed_fact(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    name: str,
    *,
    now: str,
    told: Callable[[], Mapping[str, str]],
    since: Callable[[Mapping[str, str]], tuple[Mapping[str, str], Mapping[str, str]]] | None = None,
) -> str | None:
    """That a fact an asset was made under is another one now, and where, or None.

    Args:
        instance: where the history is.
        asset: keeps the fact in its metadata; never materialized is a reason of its own.
        name: of the fact.
        now: what it is now.
        told: gives its parts by name, see `told_as`.
        since: the parts as they were, and as they are, less those in which only the version of
            this package differs.
    """
    event = instance.get_latest_materialization_event(asset)
    if event is None or event.asset_materialization is None:
        return None
    metadata = event.asset_materialization.metadata
    then = metadata.get(name)
    if then is not None and then.value == now:
        return None
    kept = metadata.get(told_as(name))
    if kept is None or not isinstance(kept.value, Mapping):
        return f"{name} changed"
    before = {str(part): str(each) for part, each in kept.value.items()}
    where = differences(*(since(before) if since else (before, told())))
    if since and not where:
        return None
    return f"{name} changed{where and ': '}{where}"


def differences(then: Any, now: Mapping[str, str]) -> str:
    """The names whose values differ, the first few of them: `a, b (new), c (gone) and 2 more`."""
    changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    notes = [
        name + (" (new)" if name not in then else " (gone)" if name not in now else "")
        for name in changed
    ]
    more = f" and {len(notes) - NUM_NAMED} more" if len(notes) > NUM_NAMED else ""
    return ", ".join(notes[:NUM_NAMED]) + more


def stale_reason(
    instance: dg.DagsterInstance, steps: Sequence[StepVersion], *, prefix: str = ""
) -> str | None:
    """Why materialising these assets would give something new now, or None.

    Each materialisation records the data version of every input that it read. A re-materialised
    input of the same content changes nothing; one that changed while a run was under way is seen,
    because what was read is compared, not when. Another version of the code is no reason where this
    code itself asked for the run that had it: see `other_code_reason`.

    Args:
        instance: where the history is.
        steps: the assets in question.
        prefix: the profile's `key_prefix`, which reasons leave out.
    """
    for step in steps:
        name = name_of(step.key, prefix)
        tags = _latest_tags(instance, step.key)
        if tags is None:
            return f"{name} never materialized"
        if tags.get(CODE_VERSION_TAG) != step.code_version and not _asked_by(instance, step, steps):
            return f"{name} code changed"
        for parent in step.parents:
            used = tags.get(f"{INPUT_VERSION_TAG}/{parent.to_user_string()}")
            now = (_latest_tags(instance, parent) or {}).get(DATA_VERSION_TAG, UNKNOWN_VERSION)
            if now != used:
                return f"{name_of(parent, prefix)} changed"
    return None


def other_code_reason(
    instance: dg.DagsterInstance, steps: Sequence[StepVersion], *, prefix: str = ""
) -> str | None:
    """That runs have other code than the code location that asks for them, or None.

    A code location keeps the code that it was loaded with, runs read it anew. After an upgrade
    without a reload each night would find "code changed", and change nothing about it.
    """
    for step in steps:
        made = (_latest_tags(instance, step.key) or {}).get(CODE_VERSION_TAG)
        if made != step.code_version and _asked_by(instance, step, steps):
            return (
                f"runs have other code than this code location, which was loaded before it changed "
                f"({name_of(step.key, prefix)} is version {made} there and {step.code_version} "
                f"here): {RELOAD}"
            )
    return None


def code_fingerprint(steps: Sequence[StepVersion]) -> str:
    """What code a location was loaded with, as far as nights go by it."""
    versions = sorted((step.key.to_user_string(), step.code_version) for step in steps)
    return str(hash_json(versions))[:MAX_TAG_LENGTH]


def _asked_by(
    instance: dg.DagsterInstance, step: StepVersion, steps: Sequence[StepVersion]
) -> bool:
    """Whether the run that made a step last was asked for by a location with this very code."""
    event = instance.get_latest_materialization_event(step.key)
    run = instance.get_run_by_id(event.run_id) if event is not None else None
    return run is not None and run.tags.get(CODE_TAG) == code_fingerprint(steps)


def tag_value(text: str) -> str:
    """A text as a Dagster tag value: at most 63 letters, digits and `_ . -`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text.replace("/", "."))[:MAX_TAG_LENGTH]


def _latest_tags(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str] | None:
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return None
    return event.asset_materialization.tags or {}
