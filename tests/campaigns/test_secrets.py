"""Keys and passwords that a campaign is given are found nowhere in what it leaves behind."""

import json
import logging
import os
import shutil
import sqlite3
import stat
import zlib
from contextlib import closing
from pathlib import Path

import dagster as dg
import fake_judge_server as fake
import pyarrow.parquet as pq
import pytest
import reading_judge
from endpoint_profile import JOBS, small_profile
from fastapi import FastAPI, Request, Response

from synpref_dagster.cli.instance import open_instance
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.tracking.database import make_database
from synpref_dagster.settings.profile import Profile, load_profile

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]

JUDGE_KEY = "p1anted-judge-key-0123456789"
JUDGE_PASSWORD = "p1anted-judge-passw0rd"
LEDGER_PASSWORD = "p1anted-ledger-passw0rd"
MLFLOW_PASSWORD = "p1anted-mlflow-passw0rd"
STUDIO_TOKEN = "p1anted0123456789abcdef0123456789abcdef0"
PROXY_PASSWORD = "p1anted-proxy-passw0rd"
PLANTED = b"p1anted"
"""All of them begin so, whatever is left of them."""


def answer(body):
    """The reading judge, which now and then answers with the key it was given, in every place."""
    found = json.loads(reading_judge.answer(body).content)
    answer.calls += 1
    if answer.calls % 7 == 0:
        said = f"Incorrect API key {JUDGE_KEY} in Authorization: Bearer {JUDGE_KEY}"
        error = {"error": {"message": said, "type": JUDGE_KEY, "param": JUDGE_KEY, "code": "x"}}
        return Response(
            json.dumps(error), status_code=500, headers={"x-key": JUDGE_KEY, "retry-after": "0"}
        )
    for name in ("reason", "annotation_guideline", "desired_attributes"):
        if name in found:
            found[name] = f"{found[name]} by {JUDGE_KEY}"
    return fake.Reply(json.dumps(found), prompt_tokens=9, completion_tokens=9)


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    """An empty MLflow database: making one takes longer than all that is run here."""
    path = tmp_path_factory.mktemp("tracker") / "mlflow.db"
    make_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def place(tmp_path, tracker, monkeypatch):
    """An empty folder for store, Dagster, MLflow and the log, and everything secret around it."""
    base = tmp_path / "all"
    base.mkdir()
    shutil.copyfile(tracker, base / "mlflow.db")
    before = os.umask(0o022)
    monkeypatch.chdir(base)
    for name, value in {
        "SYNPREF_STORE": str(base / "store"),
        "DAGSTER_HOME": str(base / "home"),
        "SYNPREF_MLFLOW_URI": f"sqlite:///{base}/mlflow.db",
        "SYNPREF_REVIEW_LEDGER": f"postgresql://ann:{LEDGER_PASSWORD}@127.0.0.1:9/reviews",
        "MY_JUDGE": JUDGE_KEY,
        "LABEL_STUDIO_TOKEN": STUDIO_TOKEN,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "NO_PROXY": "127.0.0.1",
        "HTTPS_PROXY": f"http://ann:{PROXY_PASSWORD}@127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ALL_PROXY", raising=False)
    make = logging.getLogRecordFactory()
    handler = logging.FileHandler(base / "all.log")
    logging.getLogger().addHandler(handler)
    yield base
    logging.getLogger().removeHandler(handler)
    handler.close()
    logging.setLogRecordFactory(make)
    os.umask(before)


def run(profile, *assets):
    """Materialises assets with all that they rest on; what Dagster recorded."""
    defs = build_defs(profile)
    wanted = dg.AssetSelection.assets(*assets).upstream().resolve(defs.resolve_asset_graph())
    with open_instance() as instance:
        job = defs.resolve_job_def("curate_pool")
        result = job.execute_in_process(
            instance=instance,
            asset_selection=sorted(wanted & job.asset_layer.executable_asset_keys),
            raise_on_error=False,
        )
    open_instance().dispose()  # narrows what this run made
    return result


def run_all(profile):
    """A whole campaign, up to its report."""
    defs = build_defs(profile)
    with open_instance() as instance:
        results = [
            defs.resolve_job_def(name).execute_in_process(instance=instance, raise_on_error=False)
            for name in JOBS
        ]
    open_instance().dispose()
    return results


def contents(base):
    """Every byte of the files below a folder, what is packed in them unpacked."""
    for path in sorted(each for each in base.rglob("*") if each.is_file()):
        data = path.read_bytes()
        yield path, data
        if path.suffix == ".parquet":
            yield path, str(pq.read_table(path).to_pylist()).encode()
        if data.startswith(b"SQLite format 3") and path.name == "runs.db":
            with closing(sqlite3.connect(path)) as connection:
                for (body,) in connection.execute("SELECT snapshot_body FROM snapshots"):
                    yield path, zlib.decompress(body)


def found_in(base):
    return sorted({str(path.relative_to(base)) for path, data in contents(base) if PLANTED in data})


def with_tables(profile, **tables):
    return Profile.model_validate({**profile.model_dump(mode="json"), **tables})


def failures(result):
    return " ".join(
        str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure
    )


def test_keys_that_judges_echo_are_nowhere_and_databases_are_private(place):
    answer.calls = 0
    with fake.serve(answer) as server:
        secret = server.url.replace("http://", f"http://ann:{JUDGE_PASSWORD}@")
        results = run_all(small_profile(secret, api_key_env="MY_JUDGE"))
        assert all(each.success for each in results)
        assert server.num_calls > 100
        assert any("authorization" in each for each in server.headers)
    assert found_in(place) == []
    assert next(place.rglob("report.html"))
    texts = {path.name for path, data in contents(place) if b"by ***" in data}
    assert "judge_replies.sqlite" in texts  # the echo was there, and only the key is not
    for path in place.rglob("*"):
        if path.is_file() and (".db" in path.name or ".sqlite" in path.name):
            assert oct(stat.S_IMODE(path.stat().st_mode)) == "0o600", path
    for folder in ("home", "home/history"):
        assert oct(stat.S_IMODE((place / folder).stat().st_mode)) == "0o700"


def test_a_judge_that_refuses_and_echoes_the_key_fails_the_run_without_it(place):
    def refuse(body):
        return fake.error(401, f"no access with {JUDGE_KEY}; Authorization: Bearer {JUDGE_KEY}")

    with fake.serve(refuse) as server:
        result = run(small_profile(server.url, api_key_env="MY_JUDGE"), "attribute_labels")
    assert "no access with ***" in failures(result)
    assert found_in(place) == []


def test_a_ledger_and_a_tracker_that_do_not_answer_are_named_without_their_passwords(
    place, monkeypatch
):
    smoke = with_tables(load_profile("smoke"), people={"backend": "page"})
    result = run(smoke, "human_verified_seed")
    assert "postgresql://ann:***@127.0.0.1:9/reviews" in failures(result)
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"http://ann:{MLFLOW_PASSWORD}@127.0.0.1:9")
    assert run(load_profile("smoke"), "raw_pool").success  # its metrics wait until MLflow answers
    named = {"people": {"backend": "page", "ledger_url": os.environ["SYNPREF_REVIEW_LEDGER"]}}
    assert run(with_tables(load_profile("smoke"), **named), "raw_pool").success
    assert found_in(place) == []


def test_label_studio_may_repeat_its_token_as_often_as_it_likes(place):
    app = FastAPI()

    @app.api_route("/v1/api/{path:path}", methods=["GET", "POST"])
    def echo(path: str, request: Request):
        told = {"detail": f"wrong {request.headers['authorization']}"}
        return Response(json.dumps(told), status_code=403, media_type="application/json")

    with fake.listening(app) as url:
        people = {"backend": "label_studio", "label_studio_url": url}
        smoke = load_profile("smoke")
        os.environ["SYNPREF_REVIEW_LEDGER"] = f"sqlite:///{place}/review.sqlite3"
        result = run(with_tables(smoke, people=people), "human_verified_seed")
    assert "answers 403" in failures(result) + str(
        [e.step_failure_data.user_failure_data for e in result.all_events if e.is_step_failure]
    )
    assert found_in(place) == []
    assert oct(stat.S_IMODE(Path(place, "review.sqlite3").stat().st_mode)) == "0o600"


def test_a_campaign_with_other_settings_is_refused_while_one_is_at_work(place):
    smoke = load_profile("smoke")
    other = smoke.model_copy(update={"next_steps": ("something else",)})
    with open_instance() as instance, Campaign.of(other).writing(instance):
        result = run(smoke, "raw_pool")
        assert "is being written by campaign smoke-seed-0 under other settings" in failures(result)
        assert run(other, "raw_pool").success  # a second run of the same
    assert run(smoke, "raw_pool").success
