"""What lets a campaign wait for people: external assets that stand for them, and the sensor.

Nothing of this exists when recorded verdicts play the people. Otherwise the asset that asks ends
without a result, what rests on it is skipped, and `verdicts_arrived` starts exactly that part again
when a batch is finished, or when a verdict of a finished batch was corrected.
"""

import json
from collections.abc import Sequence
from typing import Any

import dagster as dg

from synpref_dagster.definitions.jobs import CURATE_POOL, active_run
from synpref_dagster.definitions.loaded import LoadedProfile
from synpref_dagster.definitions.nightly import told_waiting
from synpref_dagster.people.queueing import BatchStatus
from synpref_dagster.resources.campaign import PEOPLE, Campaign
from synpref_dagster.settings.outlets import no_secrets_in_errors
from synpref_dagster.settings.profile import Profile

SENSOR_SECONDS = 30
BATCH_TAG = "synpref/batch"


def people_key(asset: dg.AssetKey) -> dg.AssetKey:
    """Key of the external asset that stands for the people behind `asset`."""
    return asset.with_prefix(PEOPLE)


def asking_assets(profile: Profile) -> dict[dg.AssetKey, dg.AssetKey]:
    """Asset that waits for people -> asset that says what they are asked about."""
    asking = {dg.AssetKey("human_verified_seed"): dg.AssetKey("seed_candidates")}
    for number in range(1, profile.iterations.num_iterations + 1):
        name = f"iteration_{number:02d}"
        asking[dg.AssetKey([name, "human_verdicts"])] = dg.AssetKey([name, "retrieved_pairs"])
    return asking


def with_people(assets: Sequence[Any], profile: Profile) -> list[Any]:
    """The assets of a campaign, with people in the graph where people are asked.

    What is asked about leads to the people; `people_behind` says to which asset these lead.
    """
    if profile.people.backend == "recorded":
        return list(assets)
    waiting = {
        spec.key: spec
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.specs
    }
    people = [
        dg.AssetSpec(
            people_key(key),
            deps=[source],
            group_name=waiting[key].group_name,
            owners=waiting[key].owners,
            kinds={"people"},
            description=f"The annotators who answer for {key.to_user_string()}, on the page or in "
            "Label Studio. Each answer of theirs is one data version.",
        )
        for key, source in asking_assets(profile).items()
    ]
    return [*assets, *people]


def people_behind(profile: Profile) -> dict[dg.AssetKey, list[dg.AssetKey]]:
    """Asset that waits for people -> the people it waits for; empty with recorded verdicts."""
    if profile.people.backend == "recorded":
        return {}
    return {key: [people_key(key)] for key in asking_assets(profile)}


def people_sensors(loaded: LoadedProfile) -> list[dg.SensorDefinition]:
    """The sensor `verdicts_arrived`; none when recorded verdicts play the people."""
    if loaded.profile.people.backend == "recorded":
        return []

    @dg.sensor(
        name="verdicts_arrived",
        job_name=CURATE_POOL,
        minimum_interval_seconds=SENSOR_SECONDS,
        description="Continues the campaign when people finished a batch or corrected a verdict.",
    )
    def verdicts_arrived(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from synpref_dagster.people.campaign import People

        active = active_run(context.instance, [CURATE_POOL], loaded.prefix)
        if active:
            return dg.SkipReason(f"run {active.run_id} of the campaign is still active")
        now = loaded.tick(context.instance)
        if isinstance(now, dg.SkipReason):
            return now
        with no_secrets_in_errors():
            people = People(now.profile.people, campaign=now.profile.campaign_name())
            people.pull()
        answered: dict[str, str] = json.loads(context.cursor or "{}")
        changed = [
            each for each in people.finished() if answered.get(each.batch.batch_id) != each.digest
        ]
        if not changed:
            waiting = people.waiting()
            told = [
                told_waiting(waiting, on_page=now.profile.people.backend == "page")
                if waiting
                else "no batch is before people",
                people.told_left_out(),
            ]
            return dg.SkipReason("; ".join(filter(None, told)))
        return _continue(context, changed[0], answered, now)

    return [verdicts_arrived]


def _continue(
    context: dg.SensorEvaluationContext,
    status: BatchStatus,
    answered: dict[str, str],
    campaign: Campaign,
) -> dg.SensorResult:
    """Report the people's answer and ask for a run of what rests on it."""
    batch = status.batch
    event = dg.AssetMaterialization(
        campaign.key(f"{PEOPLE}/{batch.asset}"),
        metadata={"num_verdicts": status.num_verdicts, "num_pairs": status.num_answered},
        tags={"dagster/data_version": status.digest},
    )
    request = dg.RunRequest(
        run_key=f"{batch.batch_id}:{status.digest}",
        asset_selection=resting_on(context, campaign.key(batch.asset)),
        tags={**campaign.run_tags(), BATCH_TAG: batch.batch_id},
    )
    cursor = json.dumps({**answered, batch.batch_id: status.digest}, sort_keys=True)
    return dg.SensorResult(asset_events=[event], run_requests=[request], cursor=cursor)


def resting_on(context: dg.SensorEvaluationContext, asset: dg.AssetKey) -> list[dg.AssetKey]:
    """The asset and all of the curation that is downstream of it.

    Raises:
        ValueError: the sensor runs outside a code location.
    """
    if context.repository_def is None:
        raise ValueError("verdicts_arrived needs the code location that it belongs to")
    layer = context.repository_def.get_job(CURATE_POOL).asset_layer
    graph = context.repository_def.asset_graph
    downstream = dg.AssetSelection.assets(asset).downstream().resolve(graph)
    return sorted(downstream & set(layer.selected_asset_keys))
