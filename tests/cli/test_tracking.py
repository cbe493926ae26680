"""`synpref tracking`, and the end of a run: where MLflow is, what waits, and bringing it there."""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli
from synpref_dagster.cli.tracking import end_of_run
from synpref_dagster.resources.tracking.database import make_database
from synpref_dagster.resources.tracking.spool import Spool
from synpref_dagster.settings.profile import load_profile

RECORD = {
    "kind": "metrics",
    "run": {"name": "raw_pool", "tags": {"synpref.asset": "raw_pool"}, "process": "here:1"},
    "time": 1_000,
    "of": "campaign",
    "points": [["gold/accuracy", 0.5, 1]],
}


@pytest.fixture
def spool(tmp_path, monkeypatch):
    """That of a campaign whose MLflow is a port at which nobody listens."""
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", "http://me:s3cret@127.0.0.1:9")
    return Spool(f"{load_profile('smoke').store_root()}/mlflow_waiting")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database of MLflow; making its tables takes seconds."""
    address = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    make_database(address)
    return address


def invoke(*command):
    result = CliRunner().invoke(cli.app, [*command, "--profile", "smoke"])
    assert "s3cret" not in result.output
    return result.exit_code, result.output.splitlines()


def test_status_says_where_mlflow_is_and_what_waits_since_when(spool):
    assert invoke("tracking", "status") == (
        0,
        ["MLflow: http://127.0.0.1:9", "nothing waits for MLflow"],
    )
    spool.add(RECORD)
    spool.note_away("MLflow at http://127.0.0.1:9 does not answer (connection refused)", seconds=1)
    code, lines = invoke("tracking", "status")
    assert code == 0
    assert lines[1].startswith(
        "MLflow at http://127.0.0.1:9 does not answer (connection refused), "
    )
    assert lines[1].endswith(" UTC")
    assert lines[2].startswith(f"1 record waits in {spool.uri} for MLflow: the next step")


def test_replay_says_why_not_and_keeps_what_waits(spool):
    spool.add(RECORD)
    code, lines = invoke("tracking", "replay")
    assert code == 2
    assert lines[0] == "MLflow at http://127.0.0.1:9 does not answer (connection refused)"
    assert len(spool.names()) == 1


def test_replay_brings_what_waits_and_names_what_was_put_aside(
    spool, database, tmp_path, monkeypatch
):
    spool.add(RECORD)
    spool.add({**RECORD, "points": [["a name that MLflow does not take!", 0.5, 1]]})
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", database)
    code, lines = invoke("tracking", "replay")
    assert (code, lines[-2]) == (0, "brought to MLflow: 1")
    assert lines[-1].startswith("MLflow would not take what lies in ")
    assert lines[-1].endswith("/refused, each with the reason: 1")
    [aside] = (tmp_path / "store").glob("smoke/*/mlflow_waiting/refused/*.json")
    assert "a name that MLflow does not take!" in json.loads(aside.read_text())["why"]
    assert invoke("tracking", "replay")[1][-2] == "brought to MLflow: 0"


def test_the_end_of_a_run_says_where_to_look_or_what_waits(spool, database, monkeypatch):
    def said():
        shown = io.StringIO()
        end_of_run(Console(file=shown, width=400), load_profile("smoke"))
        return shown.getvalue().splitlines()

    assert said() == ["MLflow: http://127.0.0.1:9"]
    spool.add(RECORD)
    [line] = said()
    assert line.startswith(f"1 record waits in {spool.uri} for MLflow: ")
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", database)
    assert said() == [f"MLflow: mlflow server --backend-store-uri {database}"]
    assert spool.names() == []
    monkeypatch.setenv("SYNPREF_MLFLOW_PUBLIC_URL", "https://mlflow.example.com/")
    assert said() == ["MLflow: https://mlflow.example.com"]


def test_an_address_of_the_pages_that_is_none_is_refused(spool, monkeypatch):
    monkeypatch.setenv("SYNPREF_MLFLOW_PUBLIC_URL", "mlflow.example.com")
    code, lines = invoke("tracking", "status")
    assert code == 2
    assert "SYNPREF_MLFLOW_PUBLIC_URL is no address of a page" in lines[-1]
