"""The sensor of judge batches: a batch under way holds no worker, and nobody has to watch it.

Nothing of this exists unless a judge of the profile is asked in batches. The step that needs the
replies has ended with a message; when all batches of its asset came back, the sensor starts that
asset and what rests on it again, and the replies are found in the cache.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import dagster as dg

from synpref_dagster.definitions.jobs import RUNNING, curate_pool, score_judges
from synpref_dagster.definitions.nightly import tag_value
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import AnsweredBatches, JudgePanel
from synpref_dagster.settings.outlets import no_secrets_in_errors
from synpref_dagster.settings.profile import Profile

SENSOR_SECONDS = 300
BATCHES_TAG = "synpref/judge_batches"
CONTINUED = (curate_pool, score_judges)  # the jobs whose assets ask judges


def judge_sensors(profile: Profile) -> Sequence[dg.SensorDefinition]:
    """The sensor `judge_batches`; none when no judge is asked in batches."""
    if not any(endpoint.batch for endpoint in profile.judges.endpoints):
        return []

    @dg.sensor(
        name="judge_batches",
        jobs=CONTINUED,
        minimum_interval_seconds=SENSOR_SECONDS,
        description="Collects finished judge batches and continues the campaign with them.",
    )
    def judge_batches(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        for job in CONTINUED:
            active = context.instance.get_runs(
                dg.RunsFilter(job_name=job.name, statuses=RUNNING), limit=1
            )
            if active:
                return dg.SkipReason(f"run {active[0].run_id} of {job.name} is still active")
        campaign = Campaign(profile_json=profile.model_dump_json(), store_root=profile.store_root())
        with no_secrets_in_errors():
            answered = JudgePanel(campaign=campaign).collect_batches()
        for message in answered.unreachable:
            context.log.warning(message)
        requests = list(_requests(context, answered))
        if not requests:
            return dg.SkipReason(f"{answered.num_pending:,} replies of judges are under way")
        return dg.SensorResult(run_requests=requests)

    return [judge_batches]


def _requests(
    context: dg.SensorEvaluationContext, answered: AnsweredBatches
) -> Iterator[dg.RunRequest]:
    """One run per job for all assets that can go on; the same batches never start two runs.

    Raises:
        ValueError: the sensor runs outside a code location.
    """
    if context.repository_def is None:
        raise ValueError("judge_batches needs the code location that it belongs to")
    graph = context.repository_def.asset_graph
    ready = {dg.AssetKey(name.split("/")): each for name, each in answered.batches.items()}
    for job in CONTINUED:
        layer = context.repository_def.get_job(job.name).asset_layer
        mine = sorted(key for key in ready if key in layer.selected_asset_keys)
        if not mine:
            continue
        batches = sorted({batch for key in mine for batch in ready[key]})
        downstream = dg.AssetSelection.assets(*mine).downstream().resolve(graph)
        yield dg.RunRequest(
            run_key=blake2b("\n".join(batches).encode(), digest_size=16).hexdigest(),
            job_name=job.name,
            asset_selection=sorted(downstream & set(layer.selected_asset_keys)),
            tags={BATCHES_TAG: tag_value(mine[0].to_user_string())},
        )
