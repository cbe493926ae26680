"""Runs a whole campaign in this process: the jobs in order, one model size after the other.

The same jobs as in the Dagster UI, on the same instance, so that what runs here is seen there. A
campaign that was killed is started again with the same command: finished steps are found by what
they were computed from and are not computed twice.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from synpref_dagster.automation import waits_for
from synpref_dagster.build import build_defs
from synpref_dagster.settings import Profile
from synpref_dagster.storage.uris import process_is_alive

logger = logging.getLogger(__name__)

STARTED_TAG = "synpref/started_at"
PROCESS_TAG = "synpref/process"
RUNNING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
DEFAULT_HOME = ".dagster_home"
INSTANCE_SETTINGS = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of a campaign: a job, and the model size it is for."""

    job: str
    partition: str | None = None

    @property
    def title(self) -> str:
        """What people read: the job and the size."""
        return f"{self.job} [{self.partition}]" if self.partition else self.job


class CampaignFailedError(Exception):
    """A run of the campaign failed; the message names the run."""


class CampaignWaitingError(CampaignFailedError):
    """The campaign cannot go on before people or batches have answered; nothing went wrong."""


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
) -> None:
    """Run every stage of a campaign.

    Args:
        profile: what to run.
        sizes: model sizes to release.
        loggers: Dagster loggers that see every event, by name.
        on_stage: called before each stage.

    Raises:
        CampaignFailedError: a run failed; everything finished before it stays usable.
        CampaignWaitingError: people or batches of judges are asked and have not answered yet.
    """
    defs = build_defs(profile, loggers=loggers)
    tags = {STARTED_TAG: str(time.time()), PROCESS_TAG: _process_name(os.getpid())}
    with open_instance() as instance:
        end_dead_runs(instance)
        for stage in campaign_stages(sizes):
            on_stage(stage)
            result = defs.resolve_job_def(stage.job).execute_in_process(
                instance=instance,
                partition_key=stage.partition,
                run_config={"loggers": {name: {} for name in loggers}},
                tags=tags,
                raise_on_error=False,
            )
            if waiting := _waiting(result):
                raise CampaignWaitingError(f"{stage.title} waits: {waiting}")
            if not result.success:
                raise CampaignFailedError(f"{stage.title} failed in run {result.run_id}")
            if any(
                event.event_type == dg.DagsterEventType.STEP_SKIPPED for event in result.all_events
            ):
                raise CampaignWaitingError(
                    f"{stage.title} waits for people: their pairs are on the review page "
                    "(`synpref review serve`), `synpref review status` says how far they are"
                )


def open_instance() -> dg.DagsterInstance:
    """The Dagster instance of `DAGSTER_HOME`, by default `.dagster_home`, made on first use."""
    home = Path(os.environ.get("DAGSTER_HOME") or DEFAULT_HOME).resolve()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(INSTANCE_SETTINGS, encoding="utf-8")
    return dg.DagsterInstance.from_config(str(home))


def end_dead_runs(instance: dg.DagsterInstance) -> int:
    """End the runs whose process on this machine was killed; returns how many there were.

    Dagster would show them as running for ever, the nightly schedule would wait for them, and
    they would keep their slots in the pools, so that nothing else could train.
    """
    num_ended = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=RUNNING)):
        host, _, process = run.tags.get(PROCESS_TAG, "").rpartition(":")
        if host != socket.gethostname() or process_is_alive(int(process)):
            continue
        instance.report_run_failed(run, "Its process was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        logger.info("run %s of %s had been killed", run.run_id, run.job_name)
        num_ended += 1
    return num_ended


def _waiting(result: dg.ExecuteInProcessResult) -> str:
    """What the steps say that ended because others are at work; empty when a step really failed."""
    said = [waits_for(event) for event in result.all_events if event.is_step_failure]
    waiting = [each for each in said if each is not None]
    return "; ".join(waiting) if len(waiting) == len(said) else ""


def _process_name(process: int) -> str:
    return f"{socket.gethostname()}:{process}"
