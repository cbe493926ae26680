"""Artifacts go where the server keeps them, or nowhere: never to a folder of the wrong machine."""

import pytest
from tracked_steps import client_of, step_context

from synpref_dagster.resources.tracking.delivery import unreachable

FAR, HERE = "http://mlflow.example.com:5000", "http://127.0.0.1:5000"


@pytest.mark.parametrize("location", ["mlflow-artifacts:/1", "s3://bucket/1", "dbfs:/1"])
def test_a_server_that_passes_artifacts_on_and_an_object_store_are_reached(location):
    assert unreachable(location, FAR) is None


@pytest.mark.parametrize("location", ["file:///mlruns/1", "/mlruns/1", "./mlruns/1"])
def test_a_folder_of_another_machine_is_named_with_what_to_do(location):
    problem = unreachable(location, FAR.replace("//", "//me:s3cret@"))
    assert "keeps artifacts of this experiment in" in problem
    assert "a folder of another machine: plots are not stored there" in problem
    assert "--artifacts-destination" in problem
    assert "s3cret" not in problem
    assert "\n" not in problem


def test_a_server_on_this_machine_may_name_a_folder_that_is_here(tmp_path):
    assert unreachable((tmp_path / "1").as_uri(), HERE) is None
    # That of a container is not.
    assert "plots are not stored" in unreachable("file:///of_a_container/mlruns/1", HERE)


def test_a_shared_database_may_name_a_folder_of_the_machine_that_came_first(tmp_path):
    database = "postgresql+psycopg2://me:s3cret@db/mlflow"
    assert unreachable((tmp_path / "1").as_uri(), database) is None
    problem = unreachable("file:///of_another/mlruns/1", database)
    assert "share that folder" in problem
    assert "s3cret" not in problem


def test_a_plot_that_cannot_be_written_is_said_once_and_ends_no_step(tracking, tmp_path, caplog):
    own = tracking.model_copy(
        update={"experiment": tracking.campaign, "artifact_root": str(tmp_path / "artifacts")}
    )
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / tracking.campaign).write_text("a file where a folder has to be")
    with own.step(step_context()) as step:
        step.log_figure("one", b"1")
        step.log_figure("two", b"2")
        step.log_metrics({"x": 1.0})
    assert caplog.text.count("plots are not stored in MLflow: ") == 1
    assert client_of(own).get_run(step.run_id).data.metrics == {"x": 1.0}


def test_a_store_without_a_server_keeps_artifacts_where_this_machine_says():
    assert unreachable("file:///mlruns/1", "sqlite:////data/mlflow.db") is None
