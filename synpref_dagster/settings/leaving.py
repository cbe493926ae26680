"""Which texts may not leave this machine, and the places that would take them from it.

`may_leave = false` of a source is about all that is made of its pairs too. What a place would be
sent is not asked: every place that a profile names or the environment sets has to be here, or
among the hosts that its owner trusts.
"""

import ipaddress
import os
import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit
from urllib.request import getproxies, proxy_bypass

from synpref_dagster.settings.embedding import EmbeddingSettings, EndpointEmbedding
from synpref_dagster.settings.judges import JudgeSettings
from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.settings.stages import PeopleSettings

AMAZON = "s3.amazonaws.com"
OWN_NAMES = ("localhost", "")
"""The empty host of a database URL is a socket in the file system."""
ON_DISK = ("", "file", "memory", "sqlite")
UNREADABLE = "an address that cannot be read"
HUB = "https://huggingface.co"


class Destination(NamedTuple):
    """A place that is sent texts, or what was made of them."""

    setting: str
    """What names it, in the profile or the environment."""
    address: str


def destinations(
    judges: JudgeSettings,
    people: PeopleSettings,
    shards: ShardSettings,
    *,
    embedding: EmbeddingSettings,
) -> list[Destination]:
    """Where these sections send texts: to models, to people and their ledger, to a cluster."""
    found = []
    if isinstance(embedding, EndpointEmbedding):
        found.append(Destination("embedding.base_url", embedding.base_url))
    if judges.kind == "endpoints":
        found += [Destination(f"judge {each.name!r}", each.base_url) for each in judges.endpoints]
    if people.backend != "recorded":
        ledger = people.ledger_url or os.environ.get("SYNPREF_REVIEW_LEDGER", "")
        found.append(Destination("the ledger of people's answers", ledger))
    if people.backend == "label_studio":
        found.append(Destination("people.label_studio_url", str(people.label_studio_url)))
    if shards.executor == "ray":
        cluster = shards.ray.address or os.environ.get("RAY_ADDRESS") or "local"
        # `auto` may lead to a head elsewhere; a bare name is a host here and a path elsewhere.
        address = cluster if "://" in cluster or cluster == "local" else f"ray://{cluster}"
        found.append(Destination("shards.ray", address))
    return found


def hub_address(endpoint: str | None = None) -> Destination:
    """The hub that releases are uploaded to."""
    return Destination("the hub", endpoint or os.environ.get("HF_ENDPOINT") or HUB)


def refuse_leaving(
    staying: Collection[str], destinations: Iterable[Destination], *, trusted: Collection[str]
) -> None:
    """Refuse destinations on other machines, of sources that may not leave this one.

    Args:
        staying: names of the sources; without any nothing is refused.
        destinations: where the campaign would send something.
        trusted: hosts besides this machine that are fine.

    Raises:
        ValueError: naming the sources, every host with what names it, and what to do. Addresses
            are not shown: they may hold passwords.
    """
    if not staying:
        return
    allowed = {host.lower() for host in trusted}
    away = [
        f"{host} ({setting})"
        for setting, address in destinations
        for host in hosts_away(address)
        if host.lower() not in allowed
    ]
    if away:
        names = ", ".join(repr(name) for name in sorted(staying))
        raise ValueError(
            f"may_leave = false keeps the texts of {names} on this machine, but they would go to "
            f"{', '.join(dict.fromkeys(away))}: take the source or that setting out, name a place "
            "on this machine, or name a host of your own in export.trusted_hosts"
        )


def checked_host(name: str) -> str:
    """A host as `export.trusted_hosts` names it.

    Raises:
        ValueError: it is more than a host, or less.
    """
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if not re.fullmatch(r"[^\s\x00-\x1f]+", name) or name != urlsplit(f"//{name}").hostname:
            raise ValueError(
                f"{name!r} is no host: write its name alone, in small letters, without http:// and "
                "port"
            ) from None
    return name


def hosts_away(address: str) -> list[str]:
    """Hosts that an address leads to, without this machine; a proxy on the way is one of them.

    >>> hosts_away("http://127.0.0.1:8000/v1"), hosts_away("https://api.example.com/v1")
    ([], ['api.example.com'])
    """
    # Clients read these in different ways: what is before it is a host for one, for another not.
    if re.search(r"[\\\s\x00-\x1f]", address):
        return [UNREADABLE]
    try:
        return [host for host in _hosts(address) if not is_here(host)]
    except ValueError:
        return [UNREADABLE]


def is_here(host: str) -> bool:
    """Whether a host is this machine whoever asks: loopback, by number or as `localhost`.

    >>> is_here("::1"), is_here("localhost"), is_here("10.0.0.5"), is_here("127.0.0.1.nip.io")
    (True, True, False, False)
    """
    name = host.lower().rstrip(".").strip("[]")
    if name in OWN_NAMES or name.startswith("/"):
        return True
    try:
        number = ipaddress.ip_address(name)
    except ValueError:
        return False
    number = getattr(number, "ipv4_mapped", None) or number
    return number.is_loopback or number.is_unspecified


def _hosts(address: str) -> Iterator[str]:
    kind, separator, _ = address.lower().partition("://")
    kind = kind.partition("+")[0]
    if kind.startswith(("databricks", "uc:")):  # names of MLflow for a server elsewhere
        yield "databricks"
    elif not separator:
        return
    elif kind in ("http", "https"):
        host = _host(address)
        yield host
        yield from _proxies(kind, host)
    elif kind in ("postgres", "postgresql"):
        yield from _postgres_hosts(address)
    elif kind == "s3":
        yield from _hosts(os.environ.get("SYNPREF_S3_ENDPOINT") or f"https://{AMAZON}")
    elif kind not in ON_DISK:
        yield _host(address) or kind


def _host(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and not parts.hostname:
        raise ValueError(address)
    return parts.hostname or ""


def _proxies(kind: str, host: str) -> Iterator[str]:
    """The proxy that HTTP clients take from the environment, unless it spares the host."""
    proxies = getproxies()
    proxy = proxies.get(kind) or proxies.get("all")
    if proxy and not proxy_bypass(host):
        yield _host(proxy if "://" in proxy else f"//{proxy}")


def _postgres_hosts(address: str) -> Iterator[str]:
    """As libpq finds them: in the address, in its query, else in the environment."""
    parts = urlsplit(address)
    query = parse_qs(parts.query)
    if "service" in query or os.environ.get("PGSERVICE"):
        yield "pg_service.conf"
    told = [parts.netloc.rpartition("@")[2], *query.get("host", ()), *query.get("hostaddr", ())]
    named = [name for each in told for name in each.split(",") if name]
    if not query.get("hostaddr") and "PGHOSTADDR" in os.environ:
        named += os.environ["PGHOSTADDR"].split(",")  # libpq takes it also where a host is named
    if not named:
        named = [os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST") or ""]
    for name in named:
        yield name if name.startswith("/") else urlsplit(f"//{name}").hostname or ""
