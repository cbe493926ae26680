"""What people are told when MLflow does not answer: where, why, whose token, and no password."""

import time

import pytest
from absent_servers import nobody, replying, silent, swallowing
from mlflow.exceptions import MlflowException

from synpref_dagster.resources.tracking import away
from synpref_dagster.resources.tracking.away import AwayError, answered, refuse_absent_database
from synpref_dagster.resources.tracking.runs import MlflowTracking


def told(address, monkeypatch, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracking = MlflowTracking(tracking_uri=address, experiment="tests", campaign="c")
    with pytest.raises(AwayError) as caught:
        tracking._connect()
    assert caught.value.__suppress_context__
    return str(caught.value)


def with_password(address):
    return address.replace("://", "://me:s3cret@")


@pytest.mark.parametrize(
    ("environment", "whose"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "s3cret"}, "the token in MLFLOW_TRACKING_TOKEN is refused"),
        (
            {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "s3cret"},
            "the user in MLFLOW_TRACKING_USERNAME, with MLFLOW_TRACKING_PASSWORD, is refused",
        ),
        (
            {},
            "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_PASSWORD beside "
            "MLFLOW_TRACKING_USERNAME",
        ),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_let_in_is_told_whose_name_it_was(monkeypatch, environment, whose, status):
    with replying(status, b"no") as address:
        said = told(address, monkeypatch, **environment)
    assert said == f"MLflow at {address} lets nobody in ({status}): {whose}"


def test_a_user_in_the_address_is_named_by_the_setting_and_never_shown(monkeypatch):
    with replying(401, b"no") as address:
        said = told(with_password(address), monkeypatch)
    assert said == (
        f"MLflow at {address} lets nobody in (401): the user and password in SYNPREF_MLFLOW_URI "
        "are refused"
    )


def test_a_server_that_does_not_know_its_name_is_told_from_a_wrong_token(monkeypatch):
    with replying(403, b"Invalid Host header - possible DNS rebinding attack") as address:
        said = told(address, monkeypatch)
    assert said == (
        f"MLflow at {address} lets nobody in under this name: add it to the server's "
        "--allowed-hosts"
    )


@pytest.mark.parametrize("absent", [nobody, silent])
def test_no_reason_shows_a_password(monkeypatch, absent):
    with absent() as address:
        said = told(with_password(address), monkeypatch, MLFLOW_HTTP_REQUEST_TIMEOUT="1")
    assert said.startswith(f"MLflow at {address} does not answer (")


def test_a_server_is_asked_once_and_for_seconds_unless_people_say_otherwise(monkeypatch):
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "0")  # so that it is put back as it was
        monkeypatch.delenv(name)
    monkeypatch.setattr(away, "REQUEST_SECONDS", 2)
    started = time.monotonic()
    with silent() as address:
        assert "no reply within 2 s" in told(address, monkeypatch)
    assert 2 <= time.monotonic() - started < 3.5
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with silent() as address:
        assert "no reply within 1 s" in told(address, monkeypatch)


def test_a_database_that_is_not_there_is_tried_once_and_for_seconds(monkeypatch):
    started = time.monotonic()
    with pytest.raises(AwayError) as caught:
        refuse_absent_database("postgresql+psycopg2://me:s3cret@127.0.0.1:1/mlflow")
    assert str(caught.value) == (
        "MLflow at postgresql+psycopg2://127.0.0.1:1/mlflow does not answer (connection refused)"
    )
    assert time.monotonic() - started < 2
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")  # the least that libpq obeys
    with swallowing() as address, pytest.raises(AwayError, match="no reply within 2 s"):
        refuse_absent_database(f"postgresql+psycopg2{address.removeprefix('http')}/mlflow")
    assert time.monotonic() - started < 6
    refuse_absent_database("sqlite:///nothing.db")


def test_what_mlflow_understood_and_refused_is_raised_as_it_is():
    refused = MlflowException("no such run", error_code=3001)  # RESOURCE_DOES_NOT_EXIST by number
    refused.error_code = "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException, match="no such run"), answered("http://x"):
        raise refused
    with pytest.raises(AwayError, match="database is locked"), answered("sqlite:///x"):
        raise MlflowException("database is locked")
