"""What the review page refuses: other hosts, too many requests, too large forms.

Loopback is the default. Any other address needs accounts first, since everybody in the network
could reach it, and names the hosts it answers to, so that no foreign name can be bound to it.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MAX_FORM_BYTES = 65_536
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
MAX_TRACKED = 10_000


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_open_address(host: str, *, num_accounts: int, public_hosts: Sequence[str]) -> None:
    """Check where the page is to be bound.

    Raises:
        ValueError: not loopback, and there are no accounts, or no names it answers to.
    """
    if is_loopback(host):
        return
    if num_accounts == 0:
        raise ValueError(
            f"refusing to listen on {host}: others could reach it and nobody has a token yet; "
            "run `synpref review add-annotator NAME` first, or keep 127.0.0.1"
        )
    if not public_hosts:
        raise ValueError(
            f"refusing to listen on {host} without --public-host: name the host that "
            "people will type, all other names are refused"
        )


def checked_proxies(proxies: Sequence[str]) -> list[str]:
    """The proxies whose word is taken for where a request comes from.

    Args:
        proxies: addresses and networks, e.g. `127.0.0.1` and `10.0.0.0/24`.

    Raises:
        ValueError: one is neither, or is everybody.
    """
    for each in proxies:
        try:
            network = ipaddress.ip_network(each)
        except ValueError:
            network = None
        if network is None or network.prefixlen == 0:
            raise ValueError(
                f"--proxy {each!r}: name the address of your proxy, or a network like 10.0.0.0/24; "
                "anybody else could say who they are"
            )
    return list(proxies)


def refuse_leaving(host: str, *, num_staying: int, public_hosts: Sequence[str]) -> None:
    """Check where the page is to be bound while pairs are before people that may not leave.

    Raises:
        ValueError: others could reach it, on another address or under a public name.
    """
    if num_staying and not (is_loopback(host) and set(public_hosts) <= set(LOOPBACK_HOSTS)):
        raise ValueError(
            f"{num_staying} pairs before people may not leave this machine (may_leave = false): "
            "serve the page on 127.0.0.1 without --public-host, and open it here"
        )


@dataclass(slots=True)
class RateLimiter:
    """A token bucket per key: `burst` requests at once, `per_second` on average."""

    per_second: float
    burst: float
    clock: Callable[[], float]
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def allows(self, key: str) -> bool:
        """Whether this key may do one more request now; asking counts."""
        now = self.clock()
        level, since = self._buckets.get(key, (self.burst, now))
        level = min(self.burst, level + max(0.0, now - since) * self.per_second)
        if len(self._buckets) >= MAX_TRACKED and key not in self._buckets:
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[key] = (level - 1 if level >= 1 else level, now)
        return level >= 1
