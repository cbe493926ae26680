"""What one pipeline step may log, in its MLflow run.

Metrics are written in batches: one call per group of figures, not one per figure. Metrics of
iteration k belong on the campaign's run with step k, so that eight iterations make one curve.
"""

import base64
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from synpref_dagster.benchmarks.gates import Scorecard, promotion_gates
from synpref_dagster.pairs.texts import storable
from synpref_dagster.resources.tracking.links import how_to_open, run_page
from synpref_dagster.resources.tracking.outbox import Outbox
from synpref_dagster.resources.tracking.registry import (
    FINGERPRINT_TAG,
    SCORECARD_TAG,
    ModelVersion,
    Release,
)
from synpref_dagster.settings.secrets import redacted

logger = logging.getLogger(__name__)

MAX_METRICS_PER_CALL = 1000  # limits of MLflow's log-batch call
MAX_PARAMS_PER_CALL = 100
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000
MAX_DIGEST_LENGTH = 36
FILE_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class TrackedStep:
    """The figures, inputs, plots and models of one asset and partition, in one MLflow run.

    Goes through an outbox, without global state.
    """

    def __init__(
        self, outbox: Outbox, run: Mapping[str, Any], *, base_url: str, kept_in: str
    ) -> None:
        self._outbox = outbox
        self._run = run
        self._base_url = base_url
        self._kept_in = kept_in
        self.run_id = ""
        """Empty while the run waits for MLflow, as are the next two."""
        self.campaign_run_id = ""
        self.page = ""
        """Its address, or its place on pages of which no address is known."""

    def start(self) -> None:
        """Make the step's run, or continue that of an earlier attempt."""
        run_id, delivery = self._send("start"), self._outbox.delivery
        if run_id is not None and delivery is not None:
            self.run_id = run_id
            self.campaign_run_id = delivery.campaign_run(_now())
            self.page = run_page(self._base_url, delivery.experiment_id, run_id)
            self._how = how_to_open(delivery.tracking_uri)

    def end(self, status: str) -> None:
        """End the step's run, and the campaign's until the next step."""
        from mlflow.exceptions import MlflowException

        try:
            self._send("end", status=status)
        except MlflowException as error:
            # The step's work is published by now: a run that cannot be closed must not undo it.
            logger.warning("MLflow run %s could not be ended as %s: %s", self.run_id, status, error)

    @property
    def metadata(self) -> dict[str, dg.MetadataValue]:
        """Dagster metadata that lead to the MLflow run."""
        if not self.run_id:
            waits = f"waits for MLflow in {self._kept_in}: `synpref tracking replay` sends it"
            return {"mlflow_run": dg.MetadataValue.text(waits)}
        link: dg.MetadataValue = dg.MetadataValue.url(self.page)
        if not self._base_url:
            link = dg.MetadataValue.text(f"`{self._how}` or `make ui`, page {self.page}")
        return {"mlflow_run": link, "mlflow_run_id": dg.MetadataValue.text(self.run_id)}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures of this step in one batch; NaN is kept as such."""
        self._log_points([(name, value, step or 0) for name, value in metrics.items()])

    def log_campaign_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log figures on the campaign's run, e.g. `gold/accuracy` with step = iteration."""
        self._log_points([(name, value, step) for name, value in metrics.items()], of="campaign")

    def log_curve(self, name: str, values: Sequence[float]) -> None:
        """Log a whole curve, e.g. a training loss: value i gets step i."""
        self._log_points([(name, value, step) for step, value in enumerate(values)])

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log settings, nested ones by dotted names; a value too long for MLflow is cut."""
        rows = [(key, _cut(value, MAX_PARAM_LENGTH)) for key, value in flattened(params)]
        for start in range(0, len(rows), MAX_PARAMS_PER_CALL):
            self._send("params", params=rows[start : start + MAX_PARAMS_PER_CALL])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the step's run."""
        self._send("tags", tags={key: _cut(value, MAX_TAG_LENGTH) for key, value in tags.items()})

    def log_input(self, name: str, fingerprint: str, *, uri: str, num_rows: int) -> None:
        """Record a data set that was read; MLflow cuts its digest, the profile holds it whole."""
        dataset = {
            "name": name,
            "digest": fingerprint[:MAX_DIGEST_LENGTH],
            "source_type": uri.split("://", 1)[0] if "://" in uri else "local",
            "source": json.dumps({"uri": uri}),
            "profile": json.dumps({"num_rows": num_rows, "fingerprint": fingerprint}),
        }
        self._send("input", dataset=dataset)

    def log_figure(self, name: str, png: bytes) -> None:
        """Store a plot as `figures/<name>.png`; its preview in Dagster is a matter of metadata."""
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"figure name {name!r}: use letters, digits and _ . -")
        self._send("figure", name=name, png=base64.b64encode(png).decode())

    def register_checkpoint(
        self,
        name: str,
        folder: str | Path,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion | None:
        """Register a checkpoint folder, where it lies, as the next version of the model `name`.

        Args:
            name: registered model, e.g. `demo-skywork-reward-v2-qwen3-0.6b`; no slash or colon.
            folder: the checkpoint as saved (weights, tokenizer, config).
            metrics: figures of this checkpoint, bound to it in MLflow.
            tags: e.g. the checkpoint's fingerprint.

        Returns:
            The version, None while it waits for MLflow.
        """
        version: ModelVersion | None = self._send(
            "checkpoint", **_model(name, folder, metrics=metrics or {}, tags=tags or {})
        )
        return version

    def release(
        self,
        name: str,
        folder: str | Path,
        *,
        fingerprint: str,
        card: Scorecard,
        min_gold_accuracy: float,
    ) -> Release:
        """Register a release once, as candidate, and as champion when it passes all gates.

        Args:
            name: registered model.
            folder: of the release.
            fingerprint: of its weights, by which its version is found again.
            card: what it is judged by.
            min_gold_accuracy: share that the lower bound of the gold accuracy must exceed.

        Returns:
            Its gates and version. While it waits for MLflow there is no version, and no champion
            to be held against: that is done when MLflow answers.
        """
        metrics = {"gold_accuracy": card.gold.value}
        metrics |= {f"benchmark/{key}": each.value for key, each in card.benchmarks.items()}
        tags = {FINGERPRINT_TAG: fingerprint, SCORECARD_TAG: card.to_json()}
        known: Release | None = self._send(
            "release",
            card=card.to_json(),
            min_gold_accuracy=min_gold_accuracy,
            **_model(name, folder, metrics=metrics, tags=tags),
        )
        gates = promotion_gates(card, None, min_gold_accuracy=min_gold_accuracy)
        return known or Release(gates, None)

    def _log_points(self, points: Sequence[tuple[str, float, int]], *, of: str = "step") -> None:
        rows = [(name, float(value), step) for name, value, step in points]
        for start in range(0, len(rows), MAX_METRICS_PER_CALL):
            self._send("metrics", of=of, points=rows[start : start + MAX_METRICS_PER_CALL])

    def _send(self, kind: str, **what: Any) -> Any:
        return self._outbox.send({"kind": kind, "run": self._run, "time": _now(), **what})


def _model(
    name: str, folder: str | Path, *, metrics: Mapping[str, float], tags: Mapping[str, str]
) -> dict[str, Any]:
    """What a record says of a model: all of it plain JSON."""
    if not Path(folder).is_dir():
        raise ValueError(f"checkpoint {folder} is not a folder")
    points = [(key, float(value), 0) for key, value in metrics.items()]
    return {
        "name": name,
        "folder": Path(folder).resolve().as_uri(),
        "points": points,
        "tags": dict(tags),
    }


def _now() -> int:
    return int(time.time() * 1000)


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
