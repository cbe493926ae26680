"""Experiment tracking with MLflow: one parent run per campaign, one child per asset and partition.

Runs are found again by their tags, so that a retried step continues its run and a resumed campaign
its curves. Only `MlflowClient` is used: MLflow's global "active run" would leak between the steps
that Dagster runs in one process. What one step may log is in `step`, how it gets to MLflow in
`outbox`.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from pydantic import Field

from synpref_dagster.pairs.progress import tell
from synpref_dagster.resources.campaign import name_of
from synpref_dagster.resources.tracking.away import (
    SERVED,
    answered,
    ask_briefly,
    refuse_absent_database,
)
from synpref_dagster.resources.tracking.database import alone_in, make_database
from synpref_dagster.resources.tracking.delivery import (
    ASSET_TAG,
    CAMPAIGN_TAG,
    PARTITION_TAG,
    Delivery,
    checked,
)
from synpref_dagster.resources.tracking.links import how_to_open, pages
from synpref_dagster.resources.tracking.orphans import DAGSTER_RUN_TAG, end_orphans
from synpref_dagster.resources.tracking.outbox import Outbox
from synpref_dagster.resources.tracking.registry import ModelRegistry
from synpref_dagster.resources.tracking.spool import Away, Spool
from synpref_dagster.resources.tracking.step import TrackedStep
from synpref_dagster.settings.judges import DEFAULT_STORE
from synpref_dagster.settings.secrets import whole
from synpref_dagster.storage.processes import process_name


class DeletedError(ValueError):
    """Somebody deleted what a step logs to; the message says what, and what to do."""


class Waiting(NamedTuple):
    """What a campaign logged and MLflow does not have."""

    num_records: int
    num_refused: int
    """Records that MLflow would not take; they lie in `refused` beside those that wait."""
    away: Away | None
    """None: MLflow answered when it was asked last."""


class MlflowTracking(dg.ConfigurableResource[Any]):
    """MLflow runs for Dagster steps, on SQLite by default, Postgres or a server by URL.

    The parent run carries the campaign's curves (step = iteration) and ends with the status of the
    step that ended last; a child carries what one asset and partition measured. While MLflow does
    not answer, what steps log is kept, and brought there later.
    """

    tracking_uri: str = Field(
        description="SQLAlchemy URL (sqlite:///..., postgresql+psycopg2://...) or server address."
    )
    experiment: str = Field(default="synpref", description="One experiment per profile.")
    campaign: str = Field(description="Name of the campaign: the parent run is found by it.")
    artifact_root: str = Field(
        default="",
        description="Folder or s3:// address for artifacts of a new experiment; a server has its "
        "own.",
    )
    public_url: str = Field(
        default="",
        description="Where people open the MLflow pages, for links; default the server's address.",
    )
    spool: str = Field(
        default=f"{DEFAULT_STORE}/mlflow_waiting",
        description="Folder or s3:// address for what is logged while MLflow does not answer.",
    )
    key_prefix: str = Field(default="", description="Of the assets' keys; no run is called by it.")

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
        from mlflow.exceptions import MlflowException

        outbox = Outbox(
            Spool(self.spool),
            self._connect,
            run=context.run.run_id,
            tell=lambda fact: tell(context.log, fact, level=logging.WARNING),
        )
        run = {**self._run_of(context), "process": process_name()}
        tracked = TrackedStep(
            outbox, run, base_url=pages(self.tracking_uri, self.public_url), kept_in=self.spool
        )
        # One step at a time creates tables, the experiment and the parent.
        with alone_in(self.tracking_uri):
            outbox.open()
            tracked.start()
        outbox.ask(partial(self._end_orphans, context=context, spare=tracked.run_id))
        status = "FAILED"
        try:
            yield tracked
            status = "FINISHED"
        except MlflowException as error:
            try:
                self._refuse_deleted_meanwhile(tracked.run_id)
            except DeletedError as told:
                raise told from error
            raise
        finally:
            tracked.end(status)
            if outbox.delivery is None:
                with alone_in(self.tracking_uri):
                    outbox.close()

    def replay(self) -> int:
        """Bring to MLflow what waits for it; returns how many records it took.

        Raises:
            AwayError: it still does not answer.
            ValueError: its database or the experiment cannot be used.
        """
        spool = Spool(self.spool)
        if not spool.names():
            return 0
        with alone_in(self.tracking_uri):
            return Outbox(spool, self._connect).replay()

    def where(self) -> str:
        """The address of MLflow's pages, or the command that opens them."""
        return pages(self.tracking_uri, self.public_url) or how_to_open(self.tracking_uri)

    def waiting(self) -> Waiting:
        """What waits for MLflow, and why."""
        spool = Spool(self.spool)
        return Waiting(len(spool.names()), spool.num_refused(), spool.away())

    def registry(self) -> ModelRegistry:
        """MLflow's model registry, with the releases that waited for it."""
        self.replay()
        return ModelRegistry(self._client())

    def _run_of(self, context: Any) -> dict[str, Any]:
        asset, partition = _asset_and_partition(context, self.key_prefix)
        tags = {
            CAMPAIGN_TAG: self.campaign,
            DAGSTER_RUN_TAG: context.run.run_id,
            ASSET_TAG: asset,
            PARTITION_TAG: partition,
        }
        return {"name": f"{asset} [{partition}]" if partition else asset, "tags": checked(tags)}

    def _end_orphans(self, delivery: Delivery, *, context: Any, spare: str) -> None:
        end_orphans(
            delivery.client,
            delivery.experiment_id,
            f"tags.`{CAMPAIGN_TAG}` = '{self.campaign}' and attributes.status = 'RUNNING'",
            is_over=partial(_is_over, context.instance),
            spare=spare,
        )

    def _connect(self) -> Delivery:
        """MLflow's side, with the experiment; AwayError when it does not answer."""
        refuse_absent_database(whole(self.tracking_uri))
        client = self._client()
        with answered(self.tracking_uri):
            experiment = self._experiment(client)
        return Delivery(client, experiment, campaign=self.campaign, tracking_uri=self.tracking_uri)

    def _client(self) -> Any:
        # MLflow reports usage over the network unless told not to before its import.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # It logs every table it creates.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        # It prints each run's link, with the password of its address.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        ask_briefly()
        from mlflow import MlflowClient

        address = whole(self.tracking_uri)
        make_database(address)
        return MlflowClient(tracking_uri=address, registry_uri=address)

    def _experiment(self, client: Any) -> Any:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            # The disk of this machine is not the server's: it says itself where artifacts go.
            root = "" if self.tracking_uri.startswith(SERVED) else _as_uri(self.artifact_root)
            location = f"{root}/{_file_name(self.experiment)}" if root else None
            if root and "://" not in self.artifact_root:
                Path(self.artifact_root).mkdir(parents=True, exist_ok=True)
            try:
                client.create_experiment(self.experiment, artifact_location=location)
            except MlflowException as error:
                # Another machine, which our lock does not reach, may have just created it.
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = client.get_experiment_by_name(self.experiment)
        _refuse_deleted(found)
        return found

    def _refuse_deleted_meanwhile(self, run_id: str) -> None:
        """What was deleted while a step logged, when that is why it cannot go on.

        Raises:
            DeletedError: the experiment or the run was deleted.
        """
        from mlflow.exceptions import MlflowException

        try:
            is_deleted = self._connect().client.get_run(run_id).info.lifecycle_stage == "deleted"
        except (MlflowException, ConnectionError):
            is_deleted = False  # it cannot even be looked at: what was said first says more
        if is_deleted:
            raise DeletedError(
                f"the MLflow run {run_id} of this step was deleted while it logged: run the step "
                "again, it gets a new one"
            )


def _refuse_deleted(experiment: Any) -> None:
    if experiment.lifecycle_stage == "deleted":
        number = experiment.experiment_id
        raise DeletedError(
            f"the MLflow experiment {experiment.name!r} (id {number}) was deleted: restore it "
            f"(`mlflow experiments restore --experiment-id {number}` with MLFLOW_TRACKING_URI "
            "set to what SYNPREF_MLFLOW_URI is), remove it for good (`mlflow gc "
            f"--experiment-ids {number}`), or give the profile another name"
        )


def _asset_and_partition(context: Any, prefix: str) -> tuple[str, str]:
    keys = context.selected_asset_keys
    # A step of several assets is one step: it goes by the name of its function.
    asset = name_of(context.asset_key, prefix) if len(keys) == 1 else context.op_def.name
    return asset, context.partition_key if context.has_partition_key else ""


def _is_over(instance: dg.DagsterInstance, dagster_run: str) -> bool:
    run = instance.get_run_by_id(dagster_run)
    return run is not None and run.is_finished


def _as_uri(root: str) -> str:
    return root.rstrip("/") if "://" in root else Path(root).resolve().as_uri() if root else ""


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
