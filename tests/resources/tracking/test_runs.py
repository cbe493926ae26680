import math
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import numpy as np
import pytest
from tracked_steps import Dagster, client_of, step_context

from synpref_dagster.resources.tracking.runs import DeletedError, MlflowTracking


def children_of(tracking):
    client = client_of(tracking)
    experiment = client.get_experiment_by_name("tests").experiment_id
    runs = client.search_runs([experiment], f"tags.`synpref.campaign` = '{tracking.campaign}'")
    return [run for run in runs if "mlflow.parentRunId" in run.data.tags]


def test_a_step_is_a_finished_child_of_the_campaign(tracking):
    with tracking.step(step_context(partition="qwen3-0.6b")) as step:
        step.log_metrics({"gold/accuracy": np.float32(0.75), "loss": math.nan})
        step.log_params({"train": {"lr": 3e-6}, "seed": 1})
        step.log_tags({"simulated": "yes"})
    client = client_of(tracking)
    child, parent = client.get_run(step.run_id), client.get_run(step.campaign_run_id)
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.metrics["gold/accuracy"] == 0.75
    assert math.isnan(child.data.metrics["loss"])
    assert child.data.params == {"train.lr": "3e-06", "seed": "1"}
    assert child.data.tags["synpref.partition"] == "qwen3-0.6b"
    assert child.data.tags["simulated"] == "yes"
    assert child.info.run_name == "iteration_01/reward_model [qwen3-0.6b]"
    assert (child.info.status, parent.info.status) == ("FINISHED", "FINISHED")


def test_a_failing_step_leaves_a_failed_run(tracking):
    with pytest.raises(RuntimeError, match="out of memory"), tracking.step(step_context()) as step:
        raise RuntimeError("out of memory")
    assert client_of(tracking).get_run(step.run_id).info.status == "FAILED"


def test_a_deleted_experiment_is_named_with_what_to_do_and_works_again_when_restored(tracking):
    with tracking.step(step_context()):
        pass
    client = client_of(tracking)
    number = client.get_experiment_by_name("tests").experiment_id
    client.delete_experiment(number)
    with pytest.raises(DeletedError) as error, tracking.step(step_context()):
        pass
    assert f"the MLflow experiment 'tests' (id {number}) was deleted: restore it" in str(
        error.value
    )
    assert f"mlflow experiments restore --experiment-id {number}" in str(error.value)
    client.restore_experiment(number)
    with tracking.step(step_context()) as step:
        step.log_metrics({"x": 1.0})


def test_what_is_deleted_while_a_step_logs_is_named(tracking):
    client = client_of(tracking)

    def logs_after(delete):
        with tracking.step(step_context()) as step:
            delete(step)
            step.log_metrics({"x": 1.0})

    with tracking.step(step_context()) as first:
        number = client.get_experiment_by_name("tests").experiment_id
    with pytest.raises(DeletedError, match="experiment 'tests'"):
        logs_after(lambda _: client.delete_experiment(number))
    client.restore_experiment(number)
    with pytest.raises(DeletedError, match="run the step again"):
        logs_after(lambda step: client.delete_run(step.run_id))
    with tracking.step(step_context()) as again:
        again.log_metrics({"x": 1.0})
    assert again.run_id != first.run_id


def test_a_step_that_is_done_stays_done_when_its_run_is_deleted(tracking, caplog):
    with tracking.step(step_context()) as step:
        client_of(tracking).delete_run(step.run_id)
    assert f"MLflow run {step.run_id} could not be ended" in caplog.text


def test_values_that_mlflow_would_refuse_are_cut_with_dots_or_escaped(tracking):
    with tracking.step(step_context()) as step:
        step.log_params({"long": "p" * 7000, "half": "\ud83d"})
        step.log_tags({"long": "t" * 9000, "zero": "a\x00b"})
        step.log_metrics({"infinite": math.inf, "none": math.nan})
    data = client_of(tracking).get_run(step.run_id).data
    assert (len(data.params["long"]), data.params["long"][-4:]) == (6000, "p...")
    assert data.params["half"] == "\\ud83d"
    assert (len(data.tags["long"]), data.tags["long"][-4:]) == (5000, "t...")
    assert data.tags["zero"] == "a\\x00b"


def test_a_retry_continues_the_same_run_and_another_partition_does_not(tracking):
    with pytest.raises(RuntimeError), tracking.step(step_context(partition="a")) as first:
        raise RuntimeError
    with tracking.step(step_context(partition="a")) as retry:
        retry.log_metrics({"x": 1})
    with tracking.step(step_context(partition="b")) as other:
        pass
    with tracking.step(step_context(partition="a", run_id="run-2")) as rerun:
        pass
    assert retry.run_id == first.run_id
    assert len({first.run_id, other.run_id, rerun.run_id}) == 3
    assert {s.campaign_run_id for s in (first, other, rerun)} == {first.campaign_run_id}
    assert client_of(tracking).get_run(first.run_id).info.status == "FINISHED"


KILLED_STEP = """
import os, signal, sys
from types import SimpleNamespace
import dagster as dg
from synpref_dagster.resources.tracking.runs import DeletedError, MlflowTracking
key = dg.AssetKey("pool_rewards")
context = SimpleNamespace(
    run=SimpleNamespace(run_id="killed"), asset_key=key, selected_asset_keys={key},
    has_partition_key=False, instance=SimpleNamespace(get_run_by_id=lambda run: None),
)
tracking = MlflowTracking(tracking_uri=sys.argv[1], experiment="tests", campaign=sys.argv[2])
with tracking.step(context):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_run_of_a_killed_process_is_ended_by_the_next_step_and_continued_by_a_retry(tracking):
    with tracking.step(step_context("raw_pool")):
        pass
    command = [sys.executable, "-c", KILLED_STEP, tracking.tracking_uri, tracking.campaign]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL
    [left] = [run for run in children_of(tracking) if run.info.status == "RUNNING"]

    with tracking.step(step_context("clean_pool")) as alive, tracking.step(step_context()):
        ended = client_of(tracking).get_run(left.info.run_id)
        assert client_of(tracking).get_run(alive.run_id).info.status == "RUNNING"
    assert ended.info.status == "KILLED"
    assert re.fullmatch(r"its process \S+:\d+ was killed", ended.data.tags["synpref.ended_because"])

    with tracking.step(step_context("pool_rewards", run_id="killed")) as retry:
        pass
    assert retry.run_id == left.info.run_id
    continued = client_of(tracking).get_run(retry.run_id)
    assert continued.info.status == "FINISHED"
    assert "synpref.ended_because" not in continued.data.tags


def test_a_step_on_another_machine_is_ended_when_dagster_says_that_its_run_is_over(tracking):
    client = client_of(tracking)
    with tracking.step(step_context("raw_pool", run_id="over")) as over:
        pass
    with tracking.step(step_context("raw_pool", run_id="at work")) as at_work:
        pass
    for each in (over, at_work):
        client.set_tag(each.run_id, "synpref.process", "elsewhere:1")
        client.update_run(each.run_id, status="RUNNING")
    with tracking.step(step_context(instance=Dagster("over"))):
        pass
    found = client.get_run(over.run_id)
    assert found.info.status == "KILLED"
    assert found.data.tags["synpref.ended_because"] == "its Dagster run over ended without it"
    assert client.get_run(at_work.run_id).info.status == "RUNNING"


def test_a_campaign_leaves_the_runs_of_others_alone(tracking):
    other = tracking.model_copy(update={"campaign": f"{tracking.campaign}_other"})
    with other.step(step_context(run_id="over")) as step:
        pass
    client = client_of(tracking)
    client.update_run(step.run_id, status="RUNNING")
    with tracking.step(step_context(instance=Dagster("over"))):
        pass
    assert client.get_run(step.run_id).info.status == "RUNNING"


def test_iterations_make_one_curve_on_the_campaign(tracking):
    for iteration, accuracy in enumerate([0.6, 0.7, 0.8], start=1):
        with tracking.step(step_context(f"iteration_{iteration:02}/gold_confidence")) as step:
            step.log_campaign_metrics({"gold/accuracy": accuracy}, step=iteration)
    history = client_of(tracking).get_metric_history(step.campaign_run_id, "gold/accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 0.6), (2, 0.7), (3, 0.8)]


def test_a_long_curve_is_logged_whole(tracking):
    with tracking.step(step_context()) as step:
        step.log_curve("loss", [1 / (n + 1) for n in range(1200)])
    history = client_of(tracking).get_metric_history(step.run_id, "loss")
    assert [point.step for point in history] == list(range(1200))


def test_inputs_are_recorded_by_fingerprint(tracking):
    with tracking.step(step_context()) as step:
        step.log_input("gold", "f" * 64, uri="s3://bucket/gold", num_rows=12)
    dataset = client_of(tracking).get_run(step.run_id).inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest, dataset.source_type) == ("gold", "f" * 36, "s3")
    assert '"num_rows": 12' in dataset.profile
    assert "f" * 64 in dataset.profile


def test_figures_are_stored(tracking):
    with tracking.step(step_context()) as step:
        step.log_figure("gold_curve", b"\x89PNG")
        with pytest.raises(ValueError, match="figure name"):
            step.log_figure("../escape", b"")
    assert [f.path for f in client_of(tracking).list_artifacts(step.run_id, "figures")] == [
        "figures/gold_curve.png"
    ]


def test_a_checkpoint_becomes_the_next_version_where_it_lies_and_carries_its_metrics(
    tracking, tmp_path
):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with tracking.step(step_context()) as step:
        first, second = (
            step.register_checkpoint(
                "reward_model.qwen3-0.6b",
                tmp_path,
                metrics={"gold/accuracy": accuracy},
                tags={"fingerprint": "abc"},
            )
            for accuracy in (0.7, 0.8)
        )
        with pytest.raises(ValueError, match="not a folder"):
            step.register_checkpoint("reward_model.qwen3-0.6b", tmp_path / "absent")
    client = client_of(tracking)
    assert (first.version, second.version) == (1, 2)
    newest = client.get_model_version("reward_model.qwen3-0.6b", "2")
    assert newest.source == second.source == tmp_path.as_uri()
    assert newest.tags["fingerprint"] == "abc"
    model = client.get_logged_model(newest.tags["model_id"])
    assert str(model.status).endswith("READY")
    assert [(metric.key, metric.value) for metric in model.metrics] == [("gold/accuracy", 0.8)]
    assert not client.list_logged_model_artifacts(model.model_id)


def test_sixty_children_take_less_than_ten_seconds_of_processor_time(tracking):
    with tracking.step(step_context("warm_up")):
        pass
    start = time.process_time()
    for number in range(60):
        with tracking.step(step_context(f"asset_{number}")) as step:
            step.log_metrics({f"m{i}": i for i in range(20)})
            step.log_campaign_metrics({"gold/accuracy": 0.5}, step=number)
    assert time.process_time() - start < 10
    assert len(children_of(tracking)) == 61


def test_parallel_steps_share_one_campaign_run(tracking):
    def run(number):
        with tracking.step(step_context(f"asset_{number}")) as step:
            return step.campaign_run_id

    with ThreadPoolExecutor(4) as pool:
        parents = set(pool.map(run, range(8)))
    assert len(parents) == 1
    assert len(children_of(tracking)) == 8


def test_names_that_would_change_the_search_are_refused(tracking):
    bad = tracking.model_copy(update={"campaign": "x' or '1'='1"})
    with pytest.raises(ValueError, match=r"synpref\.campaign"), bad.step(step_context()):
        pass


def test_a_file_that_no_server_shows_gets_no_link_but_the_command_that_opens_it(tracking):
    with tracking.step(step_context()) as step:
        pass
    told = step.metadata["mlflow_run"]
    assert isinstance(told, dg.TextMetadataValue)
    assert f"`mlflow server --backend-store-uri {tracking.tracking_uri}`" in told.text
    assert f"/runs/{step.run_id}?" in told.text
    assert step.metadata["mlflow_run_id"].text == step.run_id


def test_links_lead_to_the_address_that_is_set(tracking):
    elsewhere = tracking.model_copy(update={"public_url": "https://mlflow.example.com/team/"})
    with elsewhere.step(step_context()) as step:
        pass
    number = client_of(tracking).get_experiment_by_name("tests").experiment_id
    assert step.metadata["mlflow_run"].url == (
        f"https://mlflow.example.com/team/#/experiments/{number}/runs/{step.run_id}"
        "?workflowType=machine_learning"
    )


def test_an_asset_logs_through_the_resource(tracking):
    @dg.asset
    def reward_model(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> None:
        with tracking.step(context) as step:
            step.log_metrics({"accuracy": 0.5})
            step.log_campaign_metrics({"accuracy": 0.5}, step=1)
            context.add_asset_metadata(step.metadata)

    result = dg.materialize([reward_model], resources={"tracking": tracking})
    event = result.asset_materializations_for_node("reward_model")[0]
    assert "mlflow_run" in event.metadata
