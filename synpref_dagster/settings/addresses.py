"""Kinds of texts in a profile: what each of them later becomes has to be possible when it is read.

An address is kept without its password (`secrets.kept`). What one of these refuses would end a step
after others were paid for, or lead somewhere that nobody meant.
"""

import math
import re
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from synpref_dagster.settings.secrets import kept, redacted

MAX_CHARS = 4096
MAX_DEPTH = 10
MAX_NUMBER = 1 << 63
STORES = ("s3", "file", "memory")
DRIVERS = {"sqlite": ("", "pysqlite"), "postgresql": ("", "psycopg2"), "postgres": ("", "psycopg2")}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_REVISION = re.compile(r"(?!.*(\.\.|//))[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_HUB_ID = re.compile(r"(?!.*(--|\.\.))\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)
_FORMAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_CLUSTER = re.compile(
    r"auto|local|(ray://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?"
)


def is_hub_id(text: str) -> bool:
    """Whether a text can name something on the hub: `owner/name` or `name`."""
    return _HUB_ID.fullmatch(text) is not None


def checked_words(text: str) -> str:
    """A text for people, or one that has to equal another.

    Raises:
        ValueError: control characters, or no end of it.
    """
    if found := _CONTROL.search(text):
        raise ValueError(f"the character {found[0]!r} cannot be in it")
    if len(text) > MAX_CHARS:
        raise ValueError(f"{len(text)} characters are too many: at most {MAX_CHARS}")
    return text


def checked_name_of_something(text: str) -> str:
    """What others call a thing: one line that is not empty and has no space around it.

    Raises:
        ValueError: it is, or has.
    """
    if not text or text != text.strip() or "\n" in text:
        raise ValueError(f"{redacted(text)!r} is empty, has spaces around it or several lines")
    return checked_words(text)


def checked_path(text: str) -> str:
    """A local path, or an address in a store.

    Raises:
        ValueError: it is empty, of another protocol, or has a key in it.
    """
    checked_name_of_something(text)
    protocol, separator, rest = text.partition("://")
    if separator and (protocol not in STORES or not rest.strip("/")):
        known = ", ".join(f"{name}://" for name in STORES)
        raise ValueError(f"{redacted(text)!r}: use a local path, or one of {known} with a place")
    if redacted(text) != text:
        raise ValueError("there is a password or a key in it: credentials go into the environment")
    return text


def checked_local_path(text: str) -> str:
    """A path of this machine.

    Raises:
        ValueError: it is an address, or none of `checked_path`.
    """
    if "://" in text:
        raise ValueError(f"{redacted(text)!r}: it has to be a path of this machine")
    return checked_path(text)


def checked_web_address(address: str) -> str:
    """The address of a server, without the password that is in it.

    Raises:
        ValueError: it is not of the form `https://host:port/path`.
    """
    shown = kept(checked_name_of_something(address))
    parts = _parts(address)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown!r} is no address of a server: write http://host:port/path")
    if parts.query or parts.fragment:
        raise ValueError(f"{shown!r}: take out what is behind ? and #, it would be lost")
    return shown


def checked_ledger(address: str) -> str:
    """The address of a review database, without the password that is in it.

    Raises:
        ValueError: another kind of database, or a driver that is not used here.
    """
    scheme, separator, _ = checked_words(address).partition("://")
    kind, _, driver = scheme.lower().partition("+")
    if not separator or kind not in DRIVERS or driver not in DRIVERS[kind]:
        told = f"a review database of kind {scheme!r}" if separator else "no kind of database in it"
        raise ValueError(f"{told}: use sqlite:///path or postgresql://user@host/database")
    shown = kept(address)
    if address != address.strip() or (kind != "sqlite" and _parts(shown) is None):
        raise ValueError(f"{shown!r} cannot be read: write postgresql://user@host:port/database")
    if kind == "sqlite" and _is_in_memory(address):
        raise ValueError(f"{shown!r} names no file, and what people say would end with the process")
    return shown


def _is_in_memory(address: str) -> bool:
    place = address.partition("://")[2].removeprefix("/").removeprefix("file:").partition("?")[0]
    return place in ("", ":memory:") or "mode=memory" in address


def checked_cluster(address: str) -> str:
    """The address of a Ray cluster.

    Raises:
        ValueError: it is none of `auto`, `host:port` and `ray://host:port`.
    """
    found = _CLUSTER.fullmatch(address)
    if not found or int(found["port"] or 1) not in range(1, 1 << 16):
        raise ValueError(f"{redacted(address)!r}: write auto, HOST:6379 or ray://HOST:10001")
    return address


def checked_variable(name: str) -> str:
    """The name of a variable of the environment, and not what should be in it.

    Raises:
        ValueError: it cannot be a name; it is not shown, for it may be the key itself.
    """
    if not _ENV_NAME.fullmatch(name) or redacted(name) != name:
        raise ValueError(
            "this is no name of a variable of the environment: write OPENAI_API_KEY or the like, "
            "and put the key into that variable"
        )
    return name


def checked_table(table: dict[str, Any]) -> dict[str, Any]:
    """Settings that are handed on: plain values that JSON knows, and no keys.

    Raises:
        ValueError: another value, or one with a key in it; the message says where.
    """
    _check_value("", table, MAX_DEPTH)
    return table


def _check_value(place: str, value: Any, depth: int) -> None:
    if isinstance(value, dict | list | tuple) and depth:
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            checked_words(str(name))
            _check_value(f"{place}.{name}".lstrip("."), each, depth - 1)
    elif isinstance(value, str):
        if redacted(value) != value or redacted(f"{place}={value}") != f"{place}={value}":
            raise ValueError(f"{place} is a key or has one in it: keys go into the environment")
        checked_words(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}, no finite number")
    elif isinstance(value, int | float | None) and abs(value or 0) < MAX_NUMBER:
        return
    else:
        raise ValueError(f"{place} is no text, number or table that can be handed on")


def _parts(address: str) -> SplitResult | None:
    """An address in its parts; None for one that clients read in different ways, or not at all."""
    if re.search(r"[\\\s\x00-\x1f]", address):
        return None
    try:
        parts = urlsplit(address)
        return parts if parts.port is None or parts.port > 0 else None
    except ValueError:
        return None


def _of_form(form: re.Pattern[str], example: str) -> AfterValidator:
    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"{redacted(text)[:MAX_CHARS]!r}: write it like {example}")
        return text

    return AfterValidator(check)


Words = Annotated[str, AfterValidator(checked_words)]
Called = Annotated[str, AfterValidator(checked_name_of_something)]
PlacePath = Annotated[str, AfterValidator(checked_path)]
LocalPath = Annotated[str, AfterValidator(checked_local_path)]
WebAddress = Annotated[str, AfterValidator(checked_web_address)]
LedgerAddress = Annotated[str, AfterValidator(checked_ledger)]
ClusterAddress = Annotated[str, AfterValidator(checked_cluster)]
Variable = Annotated[str, AfterValidator(checked_variable)]
Revision = Annotated[str, _of_form(_REVISION, "a commit, a tag or a branch")]
HubId = Annotated[str, _of_form(_HUB_ID, "owner/name")]
FormatName = Annotated[str, _of_form(_FORMAT, "hh_transcripts")]
Table = Annotated[dict[str, Any], AfterValidator(checked_table)]
