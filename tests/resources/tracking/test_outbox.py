"""MLflow is away: steps go on, what they log waits, and comes to MLflow in order and once."""

import logging
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from absent_servers import PAGE, nobody, replying, silent, swallowing
from tracked_steps import client_of, step_context

from synpref_dagster.benchmarks.gates import Figure, Scorecard
from synpref_dagster.resources.tracking import spool as spool_module
from synpref_dagster.resources.tracking.away import AwayError
from synpref_dagster.resources.tracking.delivery import Delivery
from synpref_dagster.resources.tracking.registry import CANDIDATE, CHAMPION
from synpref_dagster.resources.tracking.spool import Spool

JSON = "application/json"
ABSENT = {
    "connection refused": nobody,
    "no reply within 1 s": silent,
    "no reply within 1 s (lost on the way)": swallowing,
    "status 503": partial(replying, 503, b"no upstream"),
    "status 500": partial(replying, 500, b'{"error": "disk"}', content_type=JSON),
    "status 429": partial(replying, 429),
    "lets nobody in (401)": partial(replying, 401, b"who are you?"),
    "lets nobody in (403)": partial(replying, 403, b"Permission denied"),
    "status 404": partial(replying, 404, b"<html>nginx</html>"),
    "Not Found": partial(replying, 404, b'{"detail": "Not Found"}', content_type=JSON),
    "what answers there is no MLflow": partial(replying, 200, PAGE),
}
CARD = Scorecard(
    gold=Figure(value=0.8, low=0.78, high=0.82),
    benchmarks={"rmb": Figure(value=0.7, low=0.68, high=0.72)},
    suite="a",
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


@pytest.fixture
def tracking(tracking, tmp_path):
    return tracking.model_copy(update={"spool": str(tmp_path / "waiting")})


@contextmanager
def away(tracking, absent=nobody):
    """The same campaign while MLflow does not answer."""
    with absent() as address:
        yield tracking.model_copy(update={"tracking_uri": address})


def log_everything(step, folder):
    step.log_params({"train": {"lr": 3e-6}})
    step.log_tags({"simulated": "yes"})
    step.log_input("gold", "f" * 64, uri="s3://bucket/gold", num_rows=12)
    step.log_curve("loss", [0.9, 0.5, float("nan")])
    step.log_campaign_metrics({"gold/accuracy": 0.75}, step=1)
    step.log_figure("plot", b"\x89PNG")
    step.register_checkpoint(f"{folder.name}-stage-1", folder, metrics={"accuracy": 0.75})


def points(tracking, run_id, name):
    found = client_of(tracking).get_metric_history(run_id, name)
    return [(each.step, each.value) for each in found]


def runs_of(tracking):
    """Runs of the campaign's steps by their names."""
    client = client_of(tracking)
    experiment = client.get_experiment_by_name("tests").experiment_id
    found = client.search_runs(
        [experiment],
        f"tags.`synpref.campaign` = '{tracking.campaign}' and tags.`synpref.asset` != 'campaign'",
        order_by=["start_time ASC"],
    )
    return {each.info.run_name: each for each in found}


def num_waiting(tracking):
    return tracking.waiting().num_records


@pytest.mark.parametrize("why", ABSENT)
def test_a_step_goes_on_whatever_keeps_mlflow_from_answering(tracking, why, caplog):
    started = time.monotonic()
    with away(tracking, ABSENT[why]) as absent, absent.step(step_context()) as step:
        step.log_metrics({"x": 1.0})
    assert time.monotonic() - started < 5
    said = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert [each.getMessage().startswith("MLflow at http://127.0.0.1:") for each in said] == [True]
    assert why.partition(" (lost")[0] in said[0].getMessage()
    assert "the run goes on, and what it logs is kept in" in said[0].getMessage()
    assert "synpref tracking replay" in step.metadata["mlflow_run"].text
    assert num_waiting(tracking) == 3  # the start, the figure, the end


def test_what_waited_is_in_mlflow_as_if_it_had_been_there(tracking, tmp_path):
    before = int(time.time() * 1000)
    with away(tracking) as absent:
        with absent.step(step_context("raw_pool")) as step:
            log_everything(step, tmp_path)
        with pytest.raises(RuntimeError), absent.step(step_context("clean_pool")):
            raise RuntimeError
    after = int(time.time() * 1000)
    assert tracking.replay() == 11
    assert tracking.waiting() == (0, 0, None)
    runs = runs_of(tracking)
    assert {name: run.info.status for name, run in runs.items()} == {
        "raw_pool": "FINISHED",
        "clean_pool": "FAILED",
    }
    run = runs["raw_pool"]
    assert before <= run.info.start_time <= run.info.end_time <= after
    assert run.data.params == {"train.lr": "3e-06"}
    assert run.data.tags["simulated"] == "yes"
    assert run.inputs.dataset_inputs[0].dataset.name == "gold"
    assert points(tracking, run.info.run_id, "loss")[:2] == [(0, 0.9), (1, 0.5)]
    parent = run.data.tags["mlflow.parentRunId"]
    assert points(tracking, parent, "gold/accuracy") == [(1, 0.75)]
    client = client_of(tracking)
    assert client.get_run(parent).info.status == "FAILED"
    assert [f.path for f in client.list_artifacts(run.info.run_id, "figures")] == [
        "figures/plot.png"
    ]
    [version] = client.search_model_versions(f"name = '{tmp_path.name}-stage-1'")
    assert version.run_id == run.info.run_id


def test_the_next_step_that_reaches_mlflow_brings_what_waits_first(tracking, caplog):
    with away(tracking) as absent:
        for number in (1, 2):
            with absent.step(step_context(f"iteration_{number}")) as step:
                step.log_campaign_metrics({"gold/accuracy": number / 10}, step=number)
    assert caplog.text.count("the run goes on") == 1  # said once
    Spool(tracking.spool).note_answered()  # a moment has passed
    with tracking.step(step_context("iteration_3")) as step:
        step.log_campaign_metrics({"gold/accuracy": 0.3}, step=3)
    assert points(tracking, step.campaign_run_id, "gold/accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert [*runs_of(tracking)] == ["iteration_1", "iteration_2", "iteration_3"]
    assert num_waiting(tracking) == 0


def test_a_step_during_which_mlflow_goes_and_comes_back_is_whole(tracking, monkeypatch):
    with tracking.step(step_context()) as step:
        step.log_metrics({"x": 1.0}, step=1)
        monkeypatch.setattr(step._outbox.delivery.client, "log_batch", gone)
        step.log_metrics({"x": 2.0}, step=2)
        step.log_metrics({"x": 3.0}, step=3)
        assert num_waiting(tracking) == 2
        Spool(tracking.spool).note_answered()
    assert num_waiting(tracking) == 0
    assert points(tracking, step.run_id, "x") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert client_of(tracking).get_run(step.run_id).info.status == "FINISHED"
    assert step.metadata["mlflow_run_id"].text == step.run_id


def gone(*_, **__):
    raise AwayError("gone")


def test_each_run_says_once_that_mlflow_is_away_also_where_it_holds_up_one_record_only(
    tracking, monkeypatch, caplog, tmp_path
):
    deliver = Delivery.deliver

    def refuses_models(delivery, record):
        if record["kind"] == "checkpoint":
            raise AwayError("MLflow lets nobody register models (403)")
        return deliver(delivery, record)

    monkeypatch.setattr(Delivery, "deliver", refuses_models)
    monkeypatch.setattr(spool_module, "LONGEST_SECONDS", 0.0)  # each step asks again
    for run in ("night-1", "night-1", "night-2"):
        with tracking.step(step_context(f"asset_{num_waiting(tracking)}", run_id=run)) as step:
            step.register_checkpoint(f"{tmp_path.name}-x", tmp_path)
    assert caplog.text.count("MLflow lets nobody register models (403): the run goes on") == 2
    assert num_waiting(tracking) == 8  # a start, a model and an end each, but the first start


def test_a_server_that_keeps_silent_is_not_asked_by_each_step(tracking):
    with away(tracking, silent) as absent:
        with absent.step(step_context("first")):
            pass
        started = time.monotonic()
        for number in range(20):
            with absent.step(step_context(f"asset_{number}")) as step:
                step.log_metrics({"x": 1.0})
        assert time.monotonic() - started < 2
    assert num_waiting(tracking) == 62


REPLAY = """
import os, signal, sys
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.resources.tracking.spool import Spool
remove, left = Spool.remove, [int(sys.argv[2])]
def remove_or_die(spool, name):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)  # MLflow has the record, and its file is still there
    remove(spool, name)
Spool.remove = remove_or_die
MlflowTracking.model_validate_json(sys.argv[1]).replay()
"""


def test_a_kill_between_any_two_records_brings_nothing_twice(tracking, tmp_path):
    killed_at = 8  # while its model is registered
    with away(tracking) as absent, absent.step(step_context()) as step:
        log_everything(step, tmp_path)
    command = [sys.executable, "-c", REPLAY, tracking.model_dump_json(), str(killed_at)]
    assert subprocess.run(command, timeout=100, check=False).returncode == -9
    assert num_waiting(tracking) == 9 - (killed_at - 1)
    assert tracking.replay() == 9 - (killed_at - 1)
    [run] = runs_of(tracking).values()
    assert len(points(tracking, run.info.run_id, "loss")) == 3
    assert points(tracking, run.data.tags["mlflow.parentRunId"], "gold/accuracy") == [(1, 0.75)]
    client = client_of(tracking)
    assert len(client.search_model_versions(f"name = '{tmp_path.name}-stage-1'")) == 1
    models = client.search_logged_models([run.info.experiment_id])
    assert [each.name for each in models].count(f"{tmp_path.name}-stage-1") == 1


def test_each_record_is_taken_once_however_often_it_is_sent(tracking, tmp_path):
    with away(tracking) as absent, absent.step(step_context()) as step:
        log_everything(step, tmp_path)
    spool = Spool(tracking.spool)
    kept = {name: spool.read(name) for name in spool.names()}
    tracking.replay()
    delivery = tracking._connect()
    for record in kept.values():
        delivery.deliver(record)
    [run] = runs_of(tracking).values()
    assert len(points(tracking, run.info.run_id, "loss")) == 3
    assert len(run.inputs.dataset_inputs) == 1
    assert len(client_of(tracking).search_model_versions(f"name = '{tmp_path.name}-stage-1'")) == 1


def release(tracking, name, folder, card, fingerprint):
    with tracking.step(step_context("model_release", run_id=fingerprint)) as step:
        return step.release(name, folder, fingerprint=fingerprint, card=card, min_gold_accuracy=0.5)


def test_a_release_waits_and_is_held_against_the_champion_once_mlflow_answers(tracking, tmp_path):
    name = tmp_path.name
    assert release(tracking, name, tmp_path, CARD, "f1").version == 1
    worse = replace(CARD, benchmarks={"rmb": Figure(value=0.5, low=0.48, high=0.52)})
    better = replace(CARD, benchmarks={"rmb": Figure(value=0.8, low=0.78, high=0.82)})
    with away(tracking) as absent:
        found = release(absent, name, tmp_path, worse, "f2")
        assert [gate.name for gate in found.gates] == ["gold_accuracy"]
        assert found.version is None
    registry = tracking.registry()  # whoever looks for the champion sends what waits first
    assert registry.aliased(name, CHAMPION).version == 1
    assert registry.aliased(name, CANDIDATE).version == 2
    with away(tracking) as absent:
        release(absent, name, tmp_path, better, "f3")
    assert tracking.registry().aliased(name, CHAMPION).version == 3


def test_nobody_is_told_of_a_champion_while_releases_wait(tracking, tmp_path):
    with away(tracking) as absent:
        release(absent, tmp_path.name, tmp_path, CARD, "f1")
        with pytest.raises(AwayError, match="connection refused"):
            absent.registry()


def test_a_record_that_mlflow_never_takes_lies_aside_with_the_reason_and_holds_up_nothing(
    tracking, caplog
):
    with away(tracking) as absent, absent.step(step_context()) as step:
        step.log_params({"lr": 1})
        step.log_params({"lr": 2})  # MLflow changes no parameter
        step.log_metrics({"x": 1.0})
    spool = Spool(tracking.spool)
    Path(spool.uri, spool.names()[3]).write_text("{")
    assert tracking.replay() == 3
    assert tracking.waiting() == (0, 2, None)
    [run] = runs_of(tracking).values()
    assert run.data.params == {"lr": "1"}
    assert run.info.status == "FINISHED"
    assert caplog.text.count("MLflow would not take") == 2


def test_a_deleted_experiment_is_named_and_everything_waits_for_it(tracking, tmp_path):
    own = tracking.model_copy(update={"experiment": tracking.campaign})
    with own.step(step_context()):
        pass
    client = client_of(own)
    number = client.get_experiment_by_name(own.campaign).experiment_id
    with away(own) as absent, absent.step(step_context()) as step:
        step.log_metrics({"x": 1.0})
    client.delete_experiment(number)
    with pytest.raises(ValueError, match="was deleted: restore it"):
        own.replay()
    assert num_waiting(own) == 3
    client.restore_experiment(number)
    assert own.replay() == 3
