"""Brings records to MLflow, those of this moment and those that waited, in the same way.

A record is what a step logs, as plain JSON: `kind`, `run` (its name, tags and process), `time` in
milliseconds, and what belongs to its kind. Taking one twice changes nothing.
"""

import base64
import json
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from synpref_dagster.benchmarks.gates import Scorecard
from synpref_dagster.resources.tracking.away import DATABASES, SERVED, answered, without_secrets
from synpref_dagster.resources.tracking.orphans import ENDED_TAG, PROCESS_TAG
from synpref_dagster.resources.tracking.registry import (
    FINGERPRINT_TAG,
    FOLDER_TAG,
    ModelRegistry,
    ModelVersion,
    Release,
)
from synpref_dagster.resources.tracking.spool import Record, key_of
from synpref_dagster.settings.leaving import hosts_away

logger = logging.getLogger(__name__)

PARENT_TAG = "mlflow.parentRunId"
CAMPAIGN_TAG = "synpref.campaign"
ASSET_TAG = "synpref.asset"
PARTITION_TAG = "synpref.partition"
RECORD_TAG = "synpref.record"
CAMPAIGN_NOTE = {
    "mlflow.note.content": "A campaign: one child run for each asset and partition. Its own "
    "metrics are curves over the iterations of stage 1; 0 is the seed."
}


class Delivery:
    """One campaign's way to its runs and registered models in MLflow."""

    def __init__(self, client: Any, experiment: Any, *, campaign: str, tracking_uri: str) -> None:
        self.client = client
        self.experiment_id = str(experiment.experiment_id)
        self._campaign = campaign
        self.tracking_uri = tracking_uri
        self._artifacts = str(experiment.artifact_location or "")
        self._known: dict[str, str] = {}

    def deliver(self, record: Record) -> Any:
        """Bring one record; returns what came of it, e.g. a `ModelVersion`.

        Raises:
            AwayError: MLflow does not answer: keep the record.
            MlflowException: it would not take the record.
        """
        kinds = {
            "start": self._start,
            "metrics": self._metrics,
            "params": self._params,
            "tags": self._tags,
            "input": self._input,
            "figure": self._figure,
            "checkpoint": self._checkpoint,
            "release": self._release,
            "end": self._end,
        }
        with answered(self.tracking_uri):
            return kinds[record["kind"]](record)

    def run_of(self, record: Record) -> str:
        """The child run of a record's step: found by its tags, else made."""
        tags, at = record["run"]["tags"], record["time"]
        known = json.dumps(tags, sort_keys=True)
        if known not in self._known:
            tags = {PARENT_TAG: self.campaign_run(at), **tags}
            run = self._oldest(tags) or self.client.create_run(
                self.experiment_id,
                start_time=at,
                tags={**tags, PROCESS_TAG: record["run"]["process"]},
                run_name=record["run"]["name"],
            )
            self._known[known] = str(run.info.run_id)
        return self._known[known]

    def campaign_run(self, at: int) -> str:
        """The run of the campaign: found by its tags, else made as of a time."""
        if "" not in self._known:
            tags = checked({CAMPAIGN_TAG: self._campaign, ASSET_TAG: "campaign"})
            found = self._oldest(tags)
            if found is None:
                created = self.client.create_run(
                    self.experiment_id,
                    start_time=at,
                    tags={**tags, **CAMPAIGN_NOTE},
                    run_name=self._campaign,
                )
                # Two machines may both have found nothing. All of them keep the oldest run.
                found = self._oldest(tags) or created
                if found.info.run_id != created.info.run_id:
                    self.client.delete_run(created.info.run_id)
            self._known[""] = str(found.info.run_id)
        return self._known[""]

    def _oldest(self, tags: Mapping[str, str]) -> Any:
        conditions = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        runs = self.client.search_runs(
            [self.experiment_id],
            conditions,
            max_results=1,
            order_by=["start_time ASC", "run_id ASC"],
        )
        return runs[0] if runs else None

    def _start(self, record: Record) -> str:
        # Dagster never runs one step twice at the same time: nobody else works on this run.
        run_id = self.run_of(record)
        run = self.client.get_run(run_id)
        if run.data.tags.get(PROCESS_TAG) != record["run"]["process"]:
            self.client.set_tag(run_id, PROCESS_TAG, record["run"]["process"])
        if ENDED_TAG in run.data.tags:
            self.client.delete_tag(run_id, ENDED_TAG)
        if run.info.status != "RUNNING":
            self.client.update_run(run_id, status="RUNNING")
        return run_id

    def _metrics(self, record: Record) -> None:
        of_campaign = record.get("of") == "campaign"
        run_id = self.campaign_run(record["time"]) if of_campaign else self.run_of(record)
        self.client.log_batch(run_id, metrics=_points(record))

    def _params(self, record: Record) -> None:
        from mlflow.entities import Param

        rows = [Param(key, value) for key, value in record["params"]]
        self.client.log_batch(self.run_of(record), params=rows)

    def _tags(self, record: Record) -> None:
        from mlflow.entities import RunTag

        rows = [RunTag(key, value) for key, value in record["tags"].items()]
        self.client.log_batch(self.run_of(record), tags=rows)

    def _input(self, record: Record) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tags = [InputTag("mlflow.data.context", "input")]
        read = DatasetInput(dataset=Dataset(**record["dataset"]), tags=tags)
        self.client.log_inputs(self.run_of(record), datasets=[read])

    def _figure(self, record: Record) -> None:
        if problem := unreachable(self._artifacts, self.tracking_uri):
            _warn_once(problem)
            return
        run_id = self.run_of(record)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{record['name']}.png"
            path.write_bytes(base64.b64decode(record["png"]))
            try:
                self.client.log_artifact(run_id, str(path), artifact_path="figures")
            except Exception as error:  # noqa: BLE001 - whatever the store of artifacts raises
                self.client.get_run(run_id)  # where it is MLflow that is away, this says so
                _warn_once(f"plots are not stored in MLflow: {without_secrets(str(error))}")

    def _checkpoint(self, record: Record) -> ModelVersion:
        """Registers a folder where it lies; a record that was registered already is found again."""
        registry, name, key = ModelRegistry(self.client), record["name"], key_of(record)
        if found := registry.tagged(name, RECORD_TAG, key):
            return found
        run_id, folder = self.run_of(record), record["folder"]
        tags = {**record["tags"], FOLDER_TAG: folder, RECORD_TAG: key}
        model_id = self._logged_model(run_id, record, tags)
        registry.ensure(name)
        served = self.tracking_uri.startswith(SERVED)
        version = self.client.create_model_version(
            name,
            # A server takes no folder of another machine; the tag names it.
            source=f"models:/{model_id}" if served else folder,
            run_id=run_id,
            # An alias does not resolve to a model id in MLflow 3.17; the tag does.
            tags={**tags, "model_id": model_id},
            model_id=model_id,
            await_creation_for=0,
        )
        logger.info("registered %s version %s", name, version.version)
        return ModelVersion.of(version)

    def _logged_model(self, run_id: str, record: Record, tags: dict[str, str]) -> str:
        """What MLflow binds the figures of a checkpoint to."""
        found = self.client.search_logged_models(
            [self.experiment_id], filter_string=f"tags.`{RECORD_TAG}` = '{tags[RECORD_TAG]}'"
        )
        model = next(iter(found), None) or self.client.create_logged_model(
            self.experiment_id,
            # MLflow allows no dots here; the registered name keeps them.
            name=re.sub(r"[^A-Za-z0-9_-]", "_", record["name"]),
            source_run_id=run_id,
            tags=tags,
            model_type="reward_model",
        )
        self.client.finalize_logged_model(model.model_id, "READY")
        if points := _points(record, model_id=model.model_id):
            self.client.log_batch(run_id, metrics=points)
        return str(model.model_id)

    def _release(self, record: Record) -> Release:
        fingerprint = record["tags"][FINGERPRINT_TAG]
        registry, name = ModelRegistry(self.client), record["name"]
        found = registry.tagged(name, FINGERPRINT_TAG, fingerprint)
        if found is None:
            found = self._checkpoint(record)
        else:
            registry.tag(name, found.version, record["tags"])
        return registry.hold_gates(
            found,
            Scorecard.from_json(record["card"]),
            min_gold_accuracy=record["min_gold_accuracy"],
        )

    def _end(self, record: Record) -> None:
        for run_id in (self.run_of(record), self.campaign_run(record["time"])):
            self.client.set_terminated(run_id, status=record["status"], end_time=record["time"])


def checked(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that have a value; ValueError for one that could change a search."""
    tags = {key: value for key, value in tags.items() if value}
    for key, value in tags.items():
        # These go into MLflow's filter language; none of them ends a quoted string there.
        if not re.fullmatch(r"[A-Za-z0-9_./|:@+ -]+", value):
            raise ValueError(f"{key} is {value!r}: use letters, digits, space and _ . / | : @ + -")
    return tags


def unreachable(location: str, tracking_uri: str) -> str | None:
    """Why artifacts of an experiment would be lost on this machine's own disk, or None.

    A server that passes no artifacts on names a folder of its machine, a shared database that of
    another one, and MLflow's client writes into a folder of that name here.

    Args:
        location: of the experiment's artifacts, as the server says.
        tracking_uri: of MLflow.
    """
    scheme = urlsplit(location).scheme
    served = tracking_uri.startswith(SERVED)
    if not (served or tracking_uri.startswith(DATABASES)) or scheme not in ("", "file"):
        return None
    folder = Path(unquote(urlsplit(location).path))
    # A server on this machine may be in a container: then its folder is not ours either.
    if folder.parent.is_dir() and not (served and hosts_away(tracking_uri)):
        return None
    mend = (
        "start the server with --artifacts-destination and without --no-serve-artifacts and "
        "--default-artifact-root, and"
        if served
        else "share that folder, or"
    )
    return (
        f"MLflow at {without_secrets(tracking_uri)} keeps artifacts of this experiment in "
        f"{folder}, a folder of another machine: plots are not stored there. To store them, {mend} "
        "remove the experiment (`mlflow experiments delete`, `mlflow gc`) or give the profile "
        "another name"
    )


def _points(record: Record, *, model_id: str | None = None) -> list[Any]:
    from mlflow.entities import Metric

    points: Sequence[tuple[str, float, int]] = record["points"]
    return [
        Metric(name, value, record["time"], step, model_id=model_id) for name, value, step in points
    ]


@cache
def _warn_once(problem: str) -> None:
    logger.warning("%s", problem)
