"""Opens the review database and serves the page; the one process that hands out pairs."""

import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.page.limits import (
    LOOPBACK_HOSTS,
    checked_proxies,
    is_loopback,
    refuse_leaving,
    refuse_open_address,
)

if TYPE_CHECKING:
    from fastapi import FastAPI

URL_VARIABLE = "SYNPREF_REVIEW_LEDGER"
STORE_VARIABLE, DEFAULT_STORE = "SYNPREF_STORE", ".synpref"
FILE_NAME = "review.sqlite3"


def ledger_url() -> str:
    """Where answers are: `SYNPREF_REVIEW_LEDGER`, else a SQLite file beside the campaigns.

    Campaigns in an object store have theirs below `.synpref` of the working folder.
    """
    if url := os.environ.get(URL_VARIABLE):
        return url
    store = os.environ.get(STORE_VARIABLE) or DEFAULT_STORE
    folder = Path(DEFAULT_STORE if "://" in store else store)
    return f"sqlite:///{(folder / FILE_NAME).resolve()}"


def review_app(
    store: ReviewDatabase,
    *,
    clock: Callable[[], float] = time.time,
    hosts: Sequence[str] = LOOPBACK_HOSTS,
) -> "FastAPI":
    """The page over a database."""
    from synpref_dagster.people.page.page import ReviewPage

    desk, accounts = ReviewDesk(store, clock=clock), Accounts(store, clock=clock)
    return ReviewPage(desk, accounts, clock=clock, hosts=hosts).app()


def serve(
    url: str,
    *,
    host: str,
    port: int,
    public_hosts: Sequence[str] = (),
    proxies: Sequence[str] = (),
) -> None:
    """Serve the page until stopped.

    Args:
        url: review database.
        host: address to listen on.
        port: port to listen on.
        public_hosts: names under which people reach it; needed for any address but loopback.
        proxies: addresses and networks of proxies that say where requests come from; nobody else
            is believed.

    Raises:
        ValueError: the address is not loopback and accounts or host names are missing, or pairs
            are before people that may not leave this machine; a proxy is no address; or the port
            is taken.
    """
    import uvicorn

    from synpref_dagster.people.page.patience import PatientForAWhile

    believed = checked_proxies(proxies)
    store = ReviewDatabase(url)
    accounts = Accounts(store, clock=time.time)
    refuse_open_address(host, num_accounts=len(accounts.all()), public_hosts=public_hosts)
    num_staying = ReviewDesk(store, clock=time.time).num_staying()
    refuse_leaving(host, num_staying=num_staying, public_hosts=public_hosts)
    _refuse_taken(host, port)
    hosts = [*public_hosts, *(LOOPBACK_HOSTS if is_loopback(host) else ())]
    uvicorn.run(
        review_app(store, hosts=hosts),
        host=host,
        port=port,
        http=PatientForAWhile,
        log_level="warning",
        access_log=False,
        proxy_headers=bool(believed),
        forwarded_allow_ips=believed,
    )


def _refuse_taken(host: str, port: int) -> None:
    """Refuse an address at which nothing can listen; uvicorn's exit code would mean another thing.

    Raises:
        ValueError: in one line.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        mend = (
            "choose another --port, or end what uses it" if is_taken else "correct --host, --port"
        )
        raise ValueError(
            f"nothing can listen at {host}:{port} ({error.strerror}): {mend}"
        ) from error
