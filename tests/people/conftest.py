"""A review database with pairs, a clock that only tests move, and a client without a network."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from review_cases import Clock

from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.page.page import ReviewPage


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path) -> Iterator[ReviewDatabase]:
    opened = ReviewDatabase(f"sqlite:///{tmp_path}/review.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def desk(store, clock) -> ReviewDesk:
    return ReviewDesk(store, clock=clock)


@pytest.fixture
def accounts(store, clock) -> Accounts:
    return Accounts(store, clock=clock)


@pytest.fixture
def sign_in(desk, accounts, clock):
    """Opens an account and returns a browser that is signed in with it."""
    app = ReviewPage(desk, accounts, clock=clock).app()

    def open_browser(name: str | None, **about) -> TestClient:
        browser = TestClient(app, base_url="http://127.0.0.1", follow_redirects=True)
        if name is not None:
            token = accounts.add(name, **about)
            assert browser.post("/sign-in", data={"token": token}).status_code == 200
        return browser

    return open_browser
