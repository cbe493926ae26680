"""How the page is served: who is believed about where a request comes from, and by which ledger."""

import socket

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from uvicorn import Config

from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.page.patience import PatientForAWhile
from synpref_dagster.people.page.serving import ledger_url, serve


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serves, and returns what a request with forwarded headers is taken for."""

    def taken(peer, forwarded, *, proxies=()):
        kept = {}
        monkeypatch.setattr("uvicorn.run", lambda app, **options: kept.update(options))
        serve(f"sqlite:///{tmp_path}/r.sqlite3", host="127.0.0.1", port=0, proxies=proxies)
        assert kept["http"] is PatientForAWhile
        app = FastAPI()

        @app.get("/")
        def who(request: Request):
            return [request.client.host, request.url.scheme]

        config = Config(app, **kept)
        config.load()
        client = TestClient(config.loaded_app, client=(peer, 1), base_url="http://127.0.0.1")
        headers = {"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"}
        return client.get("/", headers=headers).json()

    return taken


def test_nobody_is_believed_by_default_not_even_on_this_machine(served, monkeypatch):
    assert served("127.0.0.1", "6.6.6.6") == ["127.0.0.1", "http"]
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert served("127.0.0.1", "6.6.6.6") == ["127.0.0.1", "http"]


def test_a_configured_proxy_is_believed_up_to_the_first_that_is_none(served):
    proxies = ["127.0.0.1", "10.0.0.0/24"]
    assert served("127.0.0.1", "7.7.7.7", proxies=proxies) == ["7.7.7.7", "https"]
    assert served("127.0.0.1", "6.6.6.6, 7.7.7.7, 10.0.0.9", proxies=proxies) == [
        "7.7.7.7",
        "https",
    ]
    assert served("9.9.9.9", "7.7.7.7", proxies=proxies) == ["9.9.9.9", "http"]


@pytest.mark.parametrize("proxy", ["*", "0.0.0.0/0", "::/0", "proxy.lan", "10.0.0.9/24", ""])
def test_everybody_and_what_is_no_address_are_no_proxies(served, proxy):
    with pytest.raises(ValueError, match="name the address of your proxy"):
        served("127.0.0.1", "7.7.7.7", proxies=[proxy])


def test_an_empty_store_is_the_default_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNPREF_STORE", "")
    monkeypatch.delenv("SYNPREF_REVIEW_LEDGER", raising=False)
    assert ledger_url() == f"sqlite:///{tmp_path.resolve()}/.synpref/review.sqlite3"


def test_an_address_at_which_nothing_can_listen_is_refused_in_a_line(tmp_path):
    url = f"sqlite:///{tmp_path}/r.sqlite3"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"nothing can listen at 127.0.0.1:{port} .*another"):
            serve(url, host="127.0.0.1", port=port)
    Accounts(ReviewDatabase(url), clock=lambda: 0.0).add("ann")
    with pytest.raises(ValueError, match=r"listen at 192\.0\.2\.1:3100 .*correct --host"):
        serve(url, host="192.0.2.1", port=3100, public_hosts=["reviews.example.com"])
