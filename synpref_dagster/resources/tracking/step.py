"""What one pipeline step may log, in its MLflow run.

Metrics are written in batches: one call per group of figures, not one per figure. Metrics of
iteration k belong on the campaign's run with step k, so that eight iterations make one curve.
"""

import json
import logging
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from synpref_dagster.pairs.texts import storable
from synpref_dagster.settings.secrets import redacted

logger = logging.getLogger(__name__)

MAX_METRICS_PER_CALL = 1000  # limits of MLflow's log-batch call
MAX_PARAMS_PER_CALL = 100
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000
MAX_DIGEST_LENGTH = 36
FILE_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredCheckpoint:
    """A version of a registered model; `model_id` is the LoggedModel its metrics belong to."""

    name: str
    version: int
    model_id: str
    uri: str


class TrackedStep:
    """The figures, inputs and artifacts of one asset and partition, in one MLflow run.

    Goes through a client, without global state.
    """

    def __init__(
        self,
        client: Any,
        *,
        experiment_id: str,
        run_id: str,
        campaign_run_id: str,
        url: str,
        copy_checkpoints: bool = True,
    ) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._copy_checkpoints = copy_checkpoints
        self.run_id = run_id
        self.campaign_run_id = campaign_run_id
        self.url = url

    @property
    def metadata(self) -> dict[str, dg.MetadataValue]:
        """Dagster metadata that links to the MLflow run."""
        return {
            "mlflow_run": dg.MetadataValue.url(self.url),
            "mlflow_run_id": dg.MetadataValue.text(self.run_id),
        }

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures of this step in one batch; NaN is kept as such."""
        self._log_points(self.run_id, [(name, value, step or 0) for name, value in metrics.items()])

    def log_campaign_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log figures on the campaign's run, e.g. `gold/accuracy` with step = iteration."""
        points = [(name, value, step) for name, value in metrics.items()]
        self._log_points(self.campaign_run_id, points)

    def log_curve(self, name: str, values: Sequence[float]) -> None:
        """Log a whole curve, e.g. a training loss: value i gets step i."""
        self._log_points(self.run_id, [(name, value, step) for step, value in enumerate(values)])

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log settings, nested ones by dotted names; a value too long for MLflow is cut."""
        from mlflow.entities import Param

        rows = [Param(key, _cut(value, MAX_PARAM_LENGTH)) for key, value in flattened(params)]
        for start in range(0, len(rows), MAX_PARAMS_PER_CALL):
            self._client.log_batch(self.run_id, params=rows[start : start + MAX_PARAMS_PER_CALL])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the step's run."""
        from mlflow.entities import RunTag

        rows = [RunTag(key, _cut(value, MAX_TAG_LENGTH)) for key, value in tags.items()]
        self._client.log_batch(self.run_id, tags=rows)

    def log_input(self, name: str, fingerprint: str, *, uri: str, num_rows: int) -> None:
        """Record a data set that was read; MLflow cuts its digest, the profile holds it whole."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=fingerprint[:MAX_DIGEST_LENGTH],
            source_type=uri.split("://", 1)[0] if "://" in uri else "local",
            source=json.dumps({"uri": uri}),
            profile=json.dumps({"num_rows": num_rows, "fingerprint": fingerprint}),
        )
        tags = [InputTag("mlflow.data.context", "input")]
        self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset=dataset, tags=tags)])

    def log_figure(self, name: str, png: bytes) -> None:
        """Store a plot as `figures/<name>.png`; its preview in Dagster is a matter of metadata."""
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"figure name {name!r}: use letters, digits and _ . -")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.png"
            path.write_bytes(png)
            self._client.log_artifact(self.run_id, str(path), artifact_path="figures")

    def log_artifact(self, path: str | Path, *, folder: str | None = None) -> None:
        """Store a file by its name, or a folder's contents."""
        log = self._client.log_artifacts if Path(path).is_dir() else self._client.log_artifact
        log(self.run_id, str(path), artifact_path=folder)

    def register_checkpoint(
        self,
        name: str,
        folder: str | Path,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RegisteredCheckpoint:
        """Register a checkpoint folder as the next version of the model `name`.

        Args:
            name: registered model, e.g. `demo-skywork-reward-v2-qwen3-0.6b`; no slash or colon.
            folder: the checkpoint as saved (weights, tokenizer, config).
            metrics: figures of this checkpoint, bound to it in MLflow.
            tags: e.g. the checkpoint's fingerprint.
        """
        tags = dict(tags or {})
        model = self._client.create_logged_model(
            self._experiment_id,
            # MLflow allows no dots here; the registered name keeps them.
            name=re.sub(r"[^A-Za-z0-9_-]", "_", name),
            source_run_id=self.run_id,
            tags=tags,
            model_type="reward_model",
        )
        uri = self._store_checkpoint(model, Path(folder))
        points = [(key, value, 0) for key, value in (metrics or {}).items()]
        self._log_points(self.run_id, points, model_id=model.model_id)
        self._ensure_registered_model(name)
        version = self._client.create_model_version(
            name,
            source=uri,
            run_id=self.run_id,
            # An alias does not resolve to a model id in MLflow 3.17; the tag does.
            tags={**tags, "model_id": model.model_id},
            model_id=model.model_id,
        )
        logger.info("registered %s version %s", name, version.version)
        return RegisteredCheckpoint(
            name=name, version=int(version.version), model_id=model.model_id, uri=uri
        )

    def _store_checkpoint(self, model: Any, folder: Path) -> str:
        if not folder.is_dir():
            self._client.finalize_logged_model(model.model_id, "FAILED")
            raise ValueError(f"checkpoint {folder} is not a folder")
        if self._copy_checkpoints:
            self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, "READY")
        return str(model.artifact_location) if self._copy_checkpoints else folder.resolve().as_uri()

    def _ensure_registered_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _log_points(
        self, run_id: str, points: Sequence[tuple[str, float, int]], *, model_id: str | None = None
    ) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [
            Metric(name, float(value), now, step, model_id=model_id) for name, value, step in points
        ]
        for start in range(0, len(rows), MAX_METRICS_PER_CALL):
            self._client.log_batch(run_id, metrics=rows[start : start + MAX_METRICS_PER_CALL])


def _cut(value: object, most: int) -> str:
    """A value as a text that every store of MLflow takes; one that is cut ends in dots."""
    text = storable(redacted(str(value)))
    return text if len(text) <= most else f"{text[: most - 3]}..."


def flattened(params: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted name, value) of nested settings, in order.

    >>> flattened({"train": {"lr": 3e-6}, "seed": 1})
    [('train.lr', 3e-06), ('seed', 1)]
    """
    rows: list[tuple[str, Any]] = []
    for key, value in params.items():
        if isinstance(value, Mapping):
            rows += flattened(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows
