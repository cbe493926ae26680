"""MLflow runs that a killed process left RUNNING, ended as KILLED with the reason.

A step closes its run whatever happens in it, but not when its process is killed. Such a run would
stand as running for ever, so the next step of the campaign ends it.
"""

import logging
from collections.abc import Callable
from typing import Any

from synpref_dagster.storage.processes import is_gone

logger = logging.getLogger(__name__)

PROCESS_TAG = "synpref.process"
ENDED_TAG = "synpref.ended_because"
DAGSTER_RUN_TAG = "synpref.dagster_run_id"
KILLED = "KILLED"


def end_orphans(
    client: Any,
    experiment_id: str,
    running: str,
    *,
    is_over: Callable[[str], bool],
    spare: str,
) -> int:
    """End the running steps that no process works on; returns how many there were.

    Args:
        client: of MLflow.
        experiment_id: where they are.
        running: filter that finds the campaign's runs which MLflow calls running.
        is_over: says of a Dagster run whether it has ended; a step outlives its run never.
        spare: id of the run that is being continued.
    """
    ended = 0
    for run in client.search_runs([experiment_id], running):
        tags, run_id = run.data.tags, run.info.run_id
        reason = _reason(tags, is_over)
        # Campaigns have no process of their own: they end with their last step.
        if run_id == spare or DAGSTER_RUN_TAG not in tags or reason is None:
            continue
        client.set_tag(run_id, ENDED_TAG, reason)
        client.set_terminated(run_id, status=KILLED)
        logger.info("MLflow run %s ended: %s", run.info.run_name, reason)
        ended += 1
    return ended


def _reason(tags: dict[str, str], is_over: Callable[[str], bool]) -> str | None:
    process, dagster_run = tags.get(PROCESS_TAG, ""), tags.get(DAGSTER_RUN_TAG, "")
    if is_gone(process):
        return f"its process {process} was killed"
    if dagster_run and is_over(dagster_run):
        return f"its Dagster run {dagster_run} ended without it"
    return None
