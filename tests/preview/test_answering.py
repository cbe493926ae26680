"""Endpoints say whether they are there, for nothing."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from endpoint_profile import small_profile
from own_files import profile

from synpref_dagster.preview.answering import answers


@contextmanager
def served(status, body):
    """A server on loopback that gives one answer to everything; yields its address and requests."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.command, self.path, self.headers.get("Authorization")))
            said = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def one(url, **changes):
    """What is said of the first judge of a panel there."""
    return answers(small_profile(url, **changes))[0]


def test_a_key_that_is_not_set_is_said_without_asking_anybody(monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    told = one("http://127.0.0.1:9/v1", api_key_env="SOME_KEY")
    assert told.state == "no key"
    assert "SOME_KEY, which is not set" in told.must_change


def test_nobody_is_asked_offline():
    told = answers(small_profile("http://127.0.0.1:9/v1"), offline=True)
    assert {each.state for each in told} == {"not asked"}
    assert not any(each.must_change for each in told)


@pytest.mark.servers
def test_an_endpoint_is_asked_for_its_models_and_for_nothing_else(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-of-mine")
    with served(200, {"object": "list", "data": [{"id": "another", "object": "model"}]}) as (
        url,
        asked,
    ):
        told = one(url, api_key_env="SOME_KEY")
        assert set(asked) == {("GET", "/v1/models", "Bearer sk-of-mine")}
    assert (told.state, told.must_change, told.is_doubtful) == ("answers", "", True)
    assert "does not list the model" in told.detail


@pytest.mark.servers
@pytest.mark.parametrize(
    ("status", "state"), [(401, "refused"), (403, "refused"), (404, "answers"), (503, "away")]
)
def test_a_status_says_whether_it_is_there_and_takes_the_key(status, state):
    with served(status, {"error": {"message": "no"}}) as (url, _):
        told = one(url)
    assert told.state == state
    assert bool(told.must_change) == (state != "answers")


def test_label_studio_needs_its_token_and_has_to_be_there(tmp_path, monkeypatch):
    people = {"backend": "label_studio", "label_studio_url": "http://127.0.0.1:9"}
    asked = profile(tmp_path, people=people)
    monkeypatch.delenv("LABEL_STUDIO_TOKEN", raising=False)
    [told] = answers(asked)
    assert (
        told.must_change == "Label Studio needs its token in LABEL_STUDIO_TOKEN, which is not set"
    )
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", "a" * 40)
    [told] = answers(asked)
    assert told.state == "away"
    assert told.must_change.startswith("Label Studio at http://127.0.0.1:9: no answer: ")


def test_one_that_is_away_is_a_line_with_its_address():
    told = one("http://127.0.0.1:9/v1")
    assert told.state == "away"
    assert told.must_change.endswith("check its address")
    assert len(told.must_change.splitlines()) == 1
