"""MLflow that does not answer: how that is known, within seconds, and what people are told.

What MLflow understood and refused is an answer. Everything else is none: no connection, no reply
in time, errors of a server, a page where JSON should be, somebody who is not let in.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

REQUEST_SECONDS = 5
SERVED = ("http://", "https://")
DATABASES = ("postgresql", "mysql")  # that are on a network
UNDERSTOOD = frozenset(
    {
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "RESOURCE_ALREADY_EXISTS",
        "INVALID_STATE",
        "BAD_REQUEST",
    }
)
REFUSED = {"UNAUTHENTICATED": 401, "CUSTOMER_UNAUTHORIZED": 401, "PERMISSION_DENIED": 403}
NOT_OF_MLFLOW = "API request to "
"""How its client begins what it says itself of a reply that is none of MLflow's."""


class AwayError(ConnectionError):
    """MLflow does not answer; the message says where, why, and what can be done."""


def ask_briefly() -> None:
    """Settings of MLflow's client, unless people set others: its own wait for four minutes."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@contextmanager
def answered(tracking_uri: str) -> Iterator[None]:
    """Tells what MLflow refused, which is raised as it is, from a MLflow that is not there.

    Args:
        tracking_uri: of MLflow, for the message.

    Raises:
        AwayError: it does not answer, or lets nobody in.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except MlflowException as error:
        code, text = str(error.error_code), str(error)
        if code in UNDERSTOOD and not text.startswith(NOT_OF_MLFLOW):
            raise
        # MLflow's own words hold the whole address, with its password.
        raise AwayError(_told(tracking_uri, text, REFUSED.get(code))) from None
    except (OSError, OperationalError) as error:  # also those of its HTTP client
        found = re.search(r"\b(401|403) Client Error", str(error))
        status = int(found[1]) if found else None
        raise AwayError(_told(tracking_uri, str(error), status)) from None


def refuse_absent_database(tracking_uri: str) -> None:
    """Try a database on a network once, since MLflow would try it for two minutes.

    Raises:
        AwayError: no connection.
    """
    if not tracking_uri.startswith(DATABASES):
        return
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    brief = {"connect_timeout": int(_seconds())}
    with answered(tracking_uri):
        create_engine(tracking_uri, connect_args=brief, poolclass=NullPool).connect().close()


def without_secrets(address: str) -> str:
    """A text whose addresses name no user and no password.

    >>> without_secrets("postgresql://me:p@ss@host/db of http://u:p@h:1")
    'postgresql://host/db of http://h:1'
    """
    return re.sub(r"://[^/\s]*@", "://", address)


def _told(tracking_uri: str, text: str, status: int | None) -> str:
    where = f"MLflow at {without_secrets(tracking_uri)}"
    if "Host header" in text:
        return f"{where} lets nobody in under this name: add it to the server's --allowed-hosts"
    if status is not None:
        return f"{where} lets nobody in ({status}): {_whose(tracking_uri)}"
    return f"{where} does not answer ({_reason(without_secrets(text))})"


def _whose(tracking_uri: str) -> str:
    """Which name or token was refused, or what was missing."""
    if os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return "the user in MLFLOW_TRACKING_USERNAME, with MLFLOW_TRACKING_PASSWORD, is refused"
    if os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return "the token in MLFLOW_TRACKING_TOKEN is refused"
    if "@" in urlsplit(tracking_uri).netloc:
        return "the user and password in SYNPREF_MLFLOW_URI are refused"
    return "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_PASSWORD beside MLFLOW_TRACKING_USERNAME"


def _seconds() -> str:
    return os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))


def _reason(text: str) -> str:
    for pattern, words in (
        (r"(?:error code |too many |\b)(\d{3})(?: error| != 200| Server Error)", r"status \1"),
        (r"timeout|timed out", f"no reply within {_seconds()} s"),
        (r"[Rr]efused", "connection refused"),
        (r"[Nn]ame or service|resolve|getaddrinfo", "its host is unknown"),
        (r"not in a valid JSON", "what answers there is no MLflow"),
    ):
        if found := re.search(pattern, text):
            return found.expand(words)
    return text.strip().splitlines()[0][:200] if text.strip() else "no reason given"
