"""The sensor of judge batches: a batch under way holds no worker, and nobody has to watch it.

Nothing of this exists unless a judge of the profile is asked in batches. The step that needs the
replies has ended with a message; when all batches of its asset came back, the sensor starts that
asset and what rests on it again, and the replies are found in the cache.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import dagster as dg

from synpref_dagster.definitions.jobs import CURATE_POOL, SCORE_JUDGES, active_run
from synpref_dagster.definitions.loaded import LoadedProfile
from synpref_dagster.definitions.nightly import tag_value
from synpref_dagster.resources.campaign import Campaign, name_of
from synpref_dagster.resources.judges import AnsweredBatches, JudgePanel
from synpref_dagster.settings.outlets import no_secrets_in_errors

SENSOR_SECONDS = 300
BATCHES_TAG = "synpref/judge_batches"
CONTINUED = (CURATE_POOL, SCORE_JUDGES)  # the jobs whose assets ask judges


def judge_sensors(loaded: LoadedProfile, jobs: Sequence[Any]) -> Sequence[dg.SensorDefinition]:
    """The sensor `judge_batches`; none when no judge is asked in batches."""
    if not any(endpoint.batch for endpoint in loaded.profile.judges.endpoints):
        return []

    @dg.sensor(
        name="judge_batches",
        jobs=[job for job in jobs if job.name in CONTINUED],
        minimum_interval_seconds=SENSOR_SECONDS,
        description="Collects finished judge batches and continues the campaign with them.",
    )
    def judge_batches(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        active = active_run(context.instance, CONTINUED, loaded.prefix)
        if active:
            return dg.SkipReason(f"run {active.run_id} of {active.job_name} is still active")
        campaign = loaded.tick(context.instance)
        if isinstance(campaign, dg.SkipReason):
            return campaign
        with no_secrets_in_errors():
            answered = JudgePanel(campaign=campaign).collect_batches()
        for message in answered.unreachable:
            context.log.warning(message)
        requests = list(_requests(context, answered, campaign))
        if not requests:
            return dg.SkipReason(f"{answered.num_pending:,} replies of judges are under way")
        return dg.SensorResult(run_requests=requests)

    return [judge_batches]


def _requests(
    context: dg.SensorEvaluationContext, answered: AnsweredBatches, campaign: Campaign
) -> Iterator[dg.RunRequest]:
    """One run per job for all assets that can go on; the same batches never start two runs.

    Raises:
        ValueError: the sensor runs outside a code location.
    """
    if context.repository_def is None:
        raise ValueError("judge_batches needs the code location that it belongs to")
    graph = context.repository_def.asset_graph
    ready = {campaign.key(name): each for name, each in answered.batches.items()}
    for job in CONTINUED:
        layer = context.repository_def.get_job(job).asset_layer
        mine = sorted(key for key in ready if key in layer.selected_asset_keys)
        if not mine:
            continue
        batches = sorted({batch for key in mine for batch in ready[key]})
        downstream = dg.AssetSelection.assets(*mine).downstream().resolve(graph)
        yield dg.RunRequest(
            run_key=blake2b("\n".join(batches).encode(), digest_size=16).hexdigest(),
            job_name=job,
            asset_selection=sorted(downstream & set(layer.selected_asset_keys)),
            tags={
                **campaign.run_tags(),
                BATCHES_TAG: tag_value(name_of(mine[0], campaign.profile.key_prefix)),
            },
        )
