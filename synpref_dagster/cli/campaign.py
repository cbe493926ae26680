"""Runs a whole campaign in this process: the jobs in order, one model size after the other.

The same jobs as in the Dagster UI, on the same instance, so that what runs here is seen there. A
campaign that was killed is started again with the same command: finished steps are found by what
they were computed from and are not computed twice.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from synpref_dagster.cli.instance import full_disks_told, narrow_history, open_instance
from synpref_dagster.cli.outcomes import CampaignFailedError, refuse_unfinished
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.resources.campaign import STARTED_TAG, TAKE_OVER_TAG, Campaign
from synpref_dagster.settings.profile import Profile
from synpref_dagster.storage.processes import is_gone, process_name

logger = logging.getLogger(__name__)

PROCESS_TAG = "synpref/process"
RUNNING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
CODE_LOCATION = ("synpref_dagster", "synpref_dagster.definitions")
"""Name and module of the code location, as in workspace.yaml; with a key prefix it is the name."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of a campaign: a job, and the model size it is for."""

    job: str
    partition: str | None = None

    @property
    def title(self) -> str:
        """What people read: the job and the size."""
        return f"{self.job} [{self.partition}]" if self.partition else self.job


def campaign_stages(sizes: Sequence[str]) -> list[Stage]:
    """The runs of a campaign in order: curation, one release per size, leaderboard and report."""
    return [
        Stage(job="curate_pool"),
        *(Stage(job="release_models", partition=size) for size in sizes),
        Stage(job="refresh_leaderboard"),
    ]


def run_campaign(
    profile: Profile,
    *,
    sizes: Sequence[str],
    loggers: Mapping[str, dg.LoggerDefinition],
    on_stage: Callable[[Stage], None],
    take_over: bool = False,
) -> None:
    """Run every stage of a campaign.

    Args:
        profile: what to run.
        sizes: model sizes to release.
        loggers: Dagster loggers that see every event, by name.
        on_stage: called before each stage.
        take_over: go on with the keys of assets that another campaign made last.

    Raises:
        CampaignFailedError: a run failed; everything finished before it stays usable. Or the
            instance has the history of another campaign.
        StoreInUseError: another campaign writes its store.
        CampaignWaitingError: people or batches of judges are asked and have not answered yet.
    """
    defs, campaign = build_defs(profile, loggers=loggers), Campaign.of(profile)
    tags = {
        STARTED_TAG: str(time.time()),
        PROCESS_TAG: process_name(),
        **campaign.run_tags(),
        **({TAKE_OVER_TAG: "true"} if take_over else {}),
    }
    with open_instance() as instance:
        if not take_over and (why := campaign.refusal_to_mix(instance)):
            raise CampaignFailedError(why, advice="Nothing was run.")
        with full_disks_told(), campaign.writing(instance):
            end_dead_runs(instance)
            for stage in campaign_stages(sizes):
                on_stage(stage)
                belong_to_code_location(instance, stage.job, name=profile.key_prefix)
                result = defs.resolve_job_def(stage.job).execute_in_process(
                    instance=instance,
                    partition_key=stage.partition,
                    run_config={"loggers": {name: {} for name in loggers}},
                    tags=tags,
                    raise_on_error=False,
                )
                narrow_history(Path(instance.root_directory))
                refuse_unfinished(result, stage.title, people=profile.people)


def belong_to_code_location(instance: dg.DagsterInstance, job: str, *, name: str = "") -> None:
    """Make runs that this process creates those of the code location that the UI has loaded.

    The timeline, a job's page and the failure sensor look at runs of a code location only, and
    `execute_in_process` has no argument for it.
    """
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    usual, module = CODE_LOCATION
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=module)
    place = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=name or usual)
    origin = RemoteRepositoryOrigin(place, "__repository__").get_job_origin(job)
    create: Any = type(instance).create_run_for_job
    instance.create_run_for_job = partial(create, instance, remote_job_origin=origin)  # type: ignore[method-assign]


def end_dead_runs(instance: dg.DagsterInstance) -> int:
    """End the runs whose process on this machine was killed; returns how many there were.

    Dagster would show them as running for ever, the nightly schedule would wait for them, and
    they would keep their slots in the pools, so that nothing else could train.
    """
    num_ended = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=RUNNING)):
        if not is_gone(run.tags.get(PROCESS_TAG, "")):
            continue
        instance.report_run_failed(run, "Its process was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        logger.info("run %s of %s had been killed", run.run_id, run.job_name)
        num_ended += 1
    return num_ended
