"""A campaign whose MLflow server is killed and started again: MLflow has all of it in the end.

The server is a real one that passes artifacts on. It is killed in the midst of steps.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient

from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.resources.tracking.outbox import Outbox
from synpref_dagster.resources.tracking.step import TrackedStep
from synpref_dagster.settings.profile import load_profile

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]
SIZE = "qwen3-0.6b"


class Server:
    """An MLflow server with a database and artifacts of its own, which can be killed."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        options = {
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--workers": "1",
            "--backend-store-uri": f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination": f"{self.folder}/artifacts",
        }
        command = [Path(sys.executable).with_name("mlflow"), "server"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *(word for pair in options.items() for word in pair)],
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise TimeoutError((self.folder / "server.log").read_text()[-2000:])

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    yield server
    server.kill()


class Failing(logging.Handler):
    """Starts the server again some steps after it was killed, and keeps what was said of it."""

    def __init__(self, server, *, steps_without):
        super().__init__(logging.DEBUG)
        self.server, self.steps_without, self.said = server, steps_without, []

    def emit(self, record):
        if "the run goes on" in record.getMessage():
            self.said.append(record.getMessage())
        event = getattr(record, "dagster_event", None)
        if event is None or event.event_type != dg.DagsterEventType.STEP_SUCCESS:
            return
        if self.server.process is None:
            self.steps_without -= 1
            if self.steps_without == 0:
                self.server.start()


def run(job, failing):
    """Run a job of the smoke profile."""

    @dg.logger
    def listening(_):
        logger = logging.Logger("listening", level=logging.DEBUG)
        logger.addHandler(failing)
        return logger

    defs = build_defs(load_profile("smoke"), loggers={"listening": listening})
    result = defs.resolve_job_def(job).execute_in_process(
        instance=dg.DagsterInstance.get(),
        partition_key=SIZE if job == "release_models" else None,
        run_config={"loggers": {"listening": {}}},
    )
    assert result.success
    return result


@pytest.fixture
def sent(monkeypatch):
    """Everything that the steps of a campaign log, in order."""
    records, send = [], Outbox.send

    def keep(outbox, record):
        records.append(record)
        return send(outbox, record)

    monkeypatch.setattr(Outbox, "send", keep)
    return records


def test_mlflow_has_all_of_a_campaign_during_which_it_was_away(server, sent, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", server.uri)
    server.start()
    log_curve, release = TrackedStep.log_curve, TrackedStep.release

    def killed_before(method):
        def call(step, *arguments, **named):
            server.kill()  # in the midst of a step: part of what it logs is there
            return method(step, *arguments, **named)

        return call

    monkeypatch.setattr(TrackedStep, "log_curve", killed_before(log_curve))
    curation = Failing(server, steps_without=3)
    first = run("curate_pool", curation)
    server.kill()
    monkeypatch.setattr(TrackedStep, "log_curve", log_curve)
    monkeypatch.setattr(TrackedStep, "release", killed_before(release))
    server.start()
    second = run("release_models", Failing(server, steps_without=9**9))
    tracking = build_resources(load_profile("smoke"))["tracking"]
    assert len(curation.said) <= 4  # once for each time that it went
    assert tracking.waiting().num_records > 0
    [told] = second.asset_materializations_for_node("model_release")
    assert "when MLflow answers again" in told.metadata["registered"].text

    server.start()
    assert tracking.replay() > 0
    assert tracking.waiting() == (0, 0, None)
    client = MlflowClient(server.uri, server.uri)
    refuse_differences(client, sent)
    [material] = first.asset_materializations_for_node("raw_pool")
    assert material.metadata["mlflow_run"].url.startswith(f"{server.uri}/#/experiments/")
    name = f"smoke-skywork-reward-v2-{SIZE}"
    [version] = client.search_model_versions(f"name = '{name}'")
    assert Path(version.tags["synpref.folder"].removeprefix("file://"), "README.md").is_file()
    assert tracking.registry().aliased(name, "candidate").version == 1
    # Plots went through the server, and not into a folder of its name on the worker's disk.
    assert list((server.folder / "artifacts").rglob("plot.png"))
    assert not list((tmp_path / "store").rglob("plot.png"))


def refuse_differences(client, sent):
    """MLflow holds exactly the records that were sent: none is missing, none is there twice."""
    experiment = client.get_experiment_by_name("smoke")
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    runs = {each.info.run_name: each for each in client.search_runs([experiment.experiment_id])}
    points = {name: Counter() for name in runs}
    figures, checkpoints = Counter(), 0
    for record in sent:
        name = "smoke-seed-0" if record.get("of") == "campaign" else record["run"]["name"]
        for metric, value, step in record.get("points", ()):
            points[name][metric, repr(value), step] += 1
        figures[name] += record["kind"] == "figure"
        checkpoints += record["kind"] == "checkpoint"
        if record["kind"] == "params":
            assert dict(record["params"]).items() <= runs[name].data.params.items()
    assert len(runs) == 1 + len({record["run"]["name"] for record in sent})
    assert checkpoints == len(client.search_model_versions("name = 'smoke-stage-1'"))
    for name, run in runs.items():
        history = Counter(
            (metric, repr(each.value), each.step)
            for metric in run.data.metrics
            for each in client.get_metric_history(run.info.run_id, metric)
        )
        assert history == points[name], name
        assert run.info.status == "FINISHED", name
        assert len(client.list_artifacts(run.info.run_id, "figures")) == figures[name], name
