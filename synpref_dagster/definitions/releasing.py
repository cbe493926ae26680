"""The sensor that ends a training with its release, however the training was started.

Whoever materializes a size of `skywork_reward_v2` alone, as a backfill in the UI does, would
otherwise have a model without scores, card and row.
"""

from collections.abc import Iterator

import dagster as dg

from synpref_dagster.definitions.jobs import RUNNING, SIZED, release_models

SENSOR_SECONDS = 60
TRAINED, RELEASED = dg.AssetKey("skywork_reward_v2"), dg.AssetKey("model_release")
FOLLOWING = [dg.AssetKey(name) for name in (*SIZED, "leaderboard") if name != "skywork_reward_v2"]


@dg.sensor(
    name="release_follows_training",
    job=release_models,
    minimum_interval_seconds=SENSOR_SECONDS,
    description="Scores and releases a size that was trained without.",
)
def release_follows_training(
    context: dg.SensorEvaluationContext,
) -> dg.SensorResult | dg.SkipReason:
    """One run per training that has no release; a run that is refused is not asked for again."""
    requests = list(unreleased(context.instance))
    if not requests:
        return dg.SkipReason("every size that was trained is released, or its run is under way")
    return dg.SensorResult(run_requests=requests)


def unreleased(instance: dg.DagsterInstance) -> Iterator[dg.RunRequest]:
    """A request for each size whose model is newer than its release."""
    for size in sorted(instance.get_materialized_partitions(TRAINED)):
        trained, released = (_latest(instance, key, size) for key in (TRAINED, RELEASED))
        if trained is None or (released and released.storage_id > trained.storage_id):
            continue
        run = instance.get_run_by_id(trained.run_id)
        if run is not None and run.status in RUNNING:
            continue  # it may be about to release what it trained
        yield dg.RunRequest(
            run_key=f"{size}:{trained.storage_id}", partition_key=size, asset_selection=FOLLOWING
        )


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey, size: str) -> dg.EventLogRecord | None:
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[size]), limit=1
    )
    return found.records[0] if found.records else None
