"""The sensor that ends a training with its release, however the training was started.

Whoever materializes a size of `skywork_reward_v2` alone, as a backfill in the UI does, would
otherwise have a model without scores, card and row.
"""

from collections.abc import Collection, Iterator, Mapping

import dagster as dg

from synpref_dagster.definitions.jobs import RELEASE_MODELS, RUNNING, SIZED
from synpref_dagster.definitions.loaded import LoadedProfile
from synpref_dagster.resources.campaign import key_of

SENSOR_SECONDS = 60
TRAINED, RELEASED = "skywork_reward_v2", "model_release"
FOLLOWING = [name for name in (*SIZED, "leaderboard") if name != TRAINED]


def release_sensor(loaded: LoadedProfile) -> dg.SensorDefinition:
    """The sensor `release_follows_training` of a campaign."""

    @dg.sensor(
        name="release_follows_training",
        job_name=RELEASE_MODELS,
        minimum_interval_seconds=SENSOR_SECONDS,
        description="Scores and releases a size that was trained without.",
    )
    def release_follows_training(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        """One run per training without a release; a run that is refused is asked for once."""
        now = loaded.tick(context.instance)
        if isinstance(now, dg.SkipReason):
            return now
        requests = list(
            unreleased(
                context.instance, now.profile.sizes(), prefix=loaded.prefix, tags=now.run_tags()
            )
        )
        if not requests:
            return dg.SkipReason("every size that was trained is released, or its run is under way")
        return dg.SensorResult(run_requests=requests)

    return release_follows_training


def unreleased(
    instance: dg.DagsterInstance,
    sizes: Collection[str],
    *,
    prefix: str = "",
    tags: Mapping[str, str] | None = None,
) -> Iterator[dg.RunRequest]:
    """A request for each size whose model is newer than its release.

    Args:
        instance: where the history is.
        sizes: those of the profile; a size that it no longer has is asked for no more.
        prefix: the profile's `key_prefix`.
        tags: of the runs.
    """
    keys = (key_of(TRAINED, prefix), key_of(RELEASED, prefix))
    for size in sorted(instance.get_materialized_partitions(keys[0]) & {*sizes}):
        trained, released = (_latest(instance, key, size) for key in keys)
        if trained is None or (released and released.storage_id > trained.storage_id):
            continue
        run = instance.get_run_by_id(trained.run_id)
        if run is not None and run.status in RUNNING:
            continue  # it may be about to release what it trained
        yield dg.RunRequest(
            run_key=f"{size}:{trained.storage_id}",
            partition_key=size,
            asset_selection=[key_of(name, prefix) for name in FOLLOWING],
            tags=dict(tags or {}),
        )


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey, size: str) -> dg.EventLogRecord | None:
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[size]), limit=1
    )
    return found.records[0] if found.records else None
