"""Experiment tracking with MLflow: one parent run per campaign, one child per asset and partition.

Runs are found again by their tags, so that a retried step continues its run and a resumed campaign
its curves. Only `MlflowClient` is used: MLflow's global "active run" would leak between the steps
that Dagster runs in one process. What one step may log is in `step`.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from synpref_dagster.resources.tracking.database import make_database
from synpref_dagster.resources.tracking.orphans import (
    DAGSTER_RUN_TAG,
    ENDED_TAG,
    PROCESS_TAG,
    end_orphans,
)
from synpref_dagster.resources.tracking.registry import ModelRegistry
from synpref_dagster.resources.tracking.step import TrackedStep
from synpref_dagster.settings.secrets import MASK, kept, whole
from synpref_dagster.storage.processes import alone_with, process_name

logger = logging.getLogger(__name__)

PARENT_TAG = "mlflow.parentRunId"
CAMPAIGN_TAG = "synpref.campaign"
ASSET_TAG = "synpref.asset"
PARTITION_TAG = "synpref.partition"
# Part of a link: without it MLflow opens the pages for traces and prompts of a chat bot.
TRAINING_PAGES = "workflowType=machine_learning"
CAMPAIGN_NOTE = {
    "mlflow.note.content": "A campaign: one child run for each asset and partition. Its own "
    "metrics are curves over the iterations of stage 1; 0 is the seed."
}
# Tag values go into MLflow's filter language; these characters cannot end a quoted string there.
SAFE_TAG_VALUE = re.compile(r"[A-Za-z0-9_./|:@+ -]+")


class DeletedError(ValueError):
    """Somebody deleted what a step logs to; the message says what, and what to do."""


class MlflowTracking(dg.ConfigurableResource[Any]):
    """MLflow runs for Dagster steps, on SQLite by default, Postgres or a server by URL.

    The parent run carries the campaign's curves (step = iteration) and ends with the status of the
    step that ended last; a child carries what one asset and partition measured.
    """

    tracking_uri: str = Field(
        description="SQLAlchemy URL (sqlite:///..., postgresql+psycopg2://...) or server address."
    )
    experiment: str = Field(default="synpref", description="One experiment per profile.")
    campaign: str = Field(description="Name of the campaign: the parent run is found by it.")
    artifact_root: str = Field(
        default="", description="Folder or s3:// address for artifacts of a new experiment."
    )
    ui_url: str = Field(
        default="http://127.0.0.1:5000", description="Where the MLflow pages are, for links."
    )
    copy_checkpoints: bool = Field(
        default=True,
        description="Copy checkpoints into the artifact store; else versions point at the folder.",
    )

    @contextmanager
    def step(self, context: Any) -> Iterator[TrackedStep]:
        """Open the child run of this step and close it with the step's outcome.

        Args:
            context: the asset's execution context; its run id, asset and partition name the child,
                so that a retry of the step logs into the same run.

        Yields:
            The step to log through. The child ends FAILED when the block raises, else FINISHED;
            one whose process is killed is ended by the campaign's next step.
        """
        asset, partition = _asset_and_partition(context)
        # One step at a time on this machine creates tables, the experiment and the parent.
        with alone_with(self.tracking_uri):
            client = self._client()
            experiment_id = self._experiment_id(client)
            parent_id = self._parent(client, experiment_id)
        tags = {
            PARENT_TAG: parent_id,
            CAMPAIGN_TAG: self.campaign,
            DAGSTER_RUN_TAG: context.run.run_id,
            ASSET_TAG: asset,
            PARTITION_TAG: partition,
        }
        name = f"{asset} [{partition}]" if partition else asset
        run_id = self._child(client, experiment_id, name=name, tags=tags)
        end_orphans(
            client,
            experiment_id,
            f"tags.`{CAMPAIGN_TAG}` = '{self.campaign}' and attributes.status = 'RUNNING'",
            is_over=partial(_is_over, context.instance),
            spare=run_id,
        )
        logger.debug("MLflow run %s for %s", run_id, name)
        status = "FAILED"
        from mlflow.exceptions import MlflowException

        try:
            yield TrackedStep(
                client,
                experiment_id=experiment_id,
                run_id=run_id,
                campaign_run_id=parent_id,
                url=self._run_url(experiment_id, run_id),
                copy_checkpoints=self.copy_checkpoints,
            )
            status = "FINISHED"
        except MlflowException as error:
            try:
                self._refuse_deleted_meanwhile(client, experiment_id, run_id)
            except DeletedError as told:
                raise told from error
            raise
        finally:
            for ended in (run_id, parent_id):
                _end(client, ended, status=status)

    def registry(self) -> ModelRegistry:
        """MLflow's model registry."""
        return ModelRegistry(self._client())

    def _client(self) -> Any:
        # MLflow reports usage over the network unless told not to before its import.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # It logs every table it creates.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow import MlflowClient

        address = whole(self.tracking_uri)
        make_database(address)
        return MlflowClient(tracking_uri=address, registry_uri=address)

    def _experiment_id(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            self._refuse_deleted(found)
            return str(found.experiment_id)
        location = f"{_as_uri(self.artifact_root)}/{_file_name(self.experiment)}"
        try:
            return str(
                client.create_experiment(
                    self.experiment,
                    artifact_location=location if self.artifact_root else None,
                )
            )
        except MlflowException:
            # Another machine, which our lock does not reach, has just created it.
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    def _refuse_deleted(self, experiment: Any) -> None:
        if experiment.lifecycle_stage == "deleted":
            number = experiment.experiment_id
            raise DeletedError(
                f"the MLflow experiment {experiment.name!r} (id {number}) was deleted: restore it "
                f"(`mlflow experiments restore --experiment-id {number}` with MLFLOW_TRACKING_URI "
                "set to what SYNPREF_MLFLOW_URI is), remove it for good (`mlflow gc "
                f"--experiment-ids {number}`), or give the profile another name"
            )

    def _refuse_deleted_meanwhile(self, client: Any, experiment_id: str, run_id: str) -> None:
        """What was deleted while a step logged, when that is why it cannot go on.

        Raises:
            DeletedError: the experiment or the run was deleted.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._refuse_deleted(client.get_experiment(experiment_id))
            is_deleted = client.get_run(run_id).info.lifecycle_stage == "deleted"
        except MlflowException:
            is_deleted = False  # it cannot even be looked at: what was said first says more
        if is_deleted:
            raise DeletedError(
                f"the MLflow run {run_id} of this step was deleted while it logged: run the step "
                "again, it gets a new one"
            )

    def _parent(self, client: Any, experiment_id: str) -> str:
        tags = _checked({CAMPAIGN_TAG: self.campaign, ASSET_TAG: "campaign"})
        found = _oldest(client, experiment_id, tags)
        if found is None:
            created = client.create_run(
                experiment_id, tags={**tags, **CAMPAIGN_NOTE}, run_name=self.campaign
            )
            # Two machines may both have found nothing. All of them keep the oldest run.
            found = _oldest(client, experiment_id, tags) or created
            if found.info.run_id != created.info.run_id:
                client.delete_run(created.info.run_id)
        return str(found.info.run_id)

    def _child(self, client: Any, experiment_id: str, *, name: str, tags: dict[str, str]) -> str:
        # Dagster never runs one step twice at the same time: nobody else creates this run.
        tags = _checked(tags)
        run = _oldest(client, experiment_id, tags)
        if run is None:
            owned = {**tags, PROCESS_TAG: process_name()}
            return str(client.create_run(experiment_id, tags=owned, run_name=name).info.run_id)
        run_id = str(run.info.run_id)
        client.set_tag(run_id, PROCESS_TAG, process_name())
        if ENDED_TAG in run.data.tags:
            client.delete_tag(run_id, ENDED_TAG)
        if run.info.status != "RUNNING":
            client.update_run(run_id, status="RUNNING")
        return run_id

    def _run_url(self, experiment_id: str, run_id: str) -> str:
        served = self.tracking_uri.startswith(("http://", "https://"))
        base = kept(self.tracking_uri if served else self.ui_url).rstrip("/")
        base = base.replace(f"//{MASK}@", "//")  # who opens the link has a password of their own
        return f"{base}/#/experiments/{experiment_id}/runs/{run_id}?{TRAINING_PAGES}"


def _asset_and_partition(context: Any) -> tuple[str, str]:
    keys = context.selected_asset_keys
    # A step of several assets is one step: it goes by the name of its function.
    asset = context.asset_key.to_user_string() if len(keys) == 1 else context.op_def.name
    return asset, context.partition_key if context.has_partition_key else ""


def _is_over(instance: dg.DagsterInstance, dagster_run: str) -> bool:
    run = instance.get_run_by_id(dagster_run)
    return run is not None and run.is_finished


def _end(client: Any, run_id: str, *, status: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.set_terminated(run_id, status=status)
    except MlflowException as error:
        # The step's work is published by now: a run that cannot be closed must not undo it.
        logger.warning("MLflow run %s could not be ended as %s: %s", run_id, status, error)


def _checked(tags: dict[str, str]) -> dict[str, str]:
    """The tags that have a value; ValueError for one that could change a search."""
    tags = {key: value for key, value in tags.items() if value}
    for key, value in tags.items():
        if not SAFE_TAG_VALUE.fullmatch(value):
            raise ValueError(f"{key} is {value!r}: use letters, digits, space and _ . / | : @ + -")
    return tags


def _oldest(client: Any, experiment_id: str, tags: dict[str, str]) -> Any:
    conditions = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = client.search_runs(
        [experiment_id], conditions, max_results=1, order_by=["start_time ASC", "run_id ASC"]
    )
    return runs[0] if runs else None


def _as_uri(root: str) -> str:
    return root.rstrip("/") if "://" in root else Path(root).resolve().as_uri() if root else ""


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
