"""What a campaign paid, kept apart from the reply cache: a lost or emptied one gives no new budget.

A small file in the campaign's store says by reply cache and judge what was paid and what may have
been charged. Where the cache that a campaign opens is another one, or knows of less, the difference
is set aside in it: it counts against the caps, stands on the bill, and people can forgive it.
"""

import json
from collections.abc import Mapping
from time import monotonic

from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.storage.uris import AnyPath, read_bytes, to_path, write_bytes

NAME = "judge_bill.json"
LOST = "an_earlier_reply_cache"
"""On whose account stands what a cache does not know of."""
EARLIER = "earlier"  # in the file: what an older copy of a cache had forgotten
LEAST_USD = 1e-9  # sums of prices in another order differ by less
SECONDS_BETWEEN = 10.0
Paid = dict[str, tuple[float, float]]
"""Judge -> US dollars paid, and the most that may have been charged on top."""


class Receipts:
    """The file of one campaign, beside one reply cache."""

    def __init__(self, uri: str, cache: ReplyCache, *, campaign: str) -> None:
        self.path = to_path(f"{uri.rstrip('/')}/{NAME}")
        self.cache = cache
        self.campaign = campaign
        self._keep_from = 0.0  # of a clock that nobody sets

    def carry_over(self) -> float:
        """Set aside what this cache does not know of; returns the US dollars that are new in it.

        Raises:
            ValueError: the file cannot be read.
        """
        known, mine = read_receipts(self.path), self._mine()
        before = known.get(self.cache.identity, {})
        gone = {judge: paid - mine.get(judge, (0.0, 0.0))[0] for judge, (paid, _) in before.items()}
        if any(usd > LEAST_USD for usd in gone.values()):  # an older copy was put in its place
            known[EARLIER] = _sum([known.get(EARLIER, {}), {j: (u, 0.0) for j, u in gone.items()}])
            known[self.cache.identity] = mine
            self._write(known)
        others = [paid for name, paid in known.items() if name != self.cache.identity]
        lost = {judge: sum(usd) for judge, usd in _sum(others).items() if sum(usd) > LEAST_USD}
        return self._set_aside(lost)

    def keep(self, *, at_once: bool = False) -> None:
        """Write down what stands in the cache, every some seconds or at once."""
        if not at_once and monotonic() < self._keep_from:
            return
        self._keep_from = monotonic() + SECONDS_BETWEEN
        known, mine = read_receipts(self.path), self._mine()
        if mine and known.get(self.cache.identity) != mine:
            self._write({**known, self.cache.identity: mine})

    def forgive(self) -> None:
        """Forget what other caches knew: people said that it was free, or is no longer theirs."""
        self._set_aside({})
        if read_receipts(self.path):
            self._write({self.cache.identity: self._mine()})

    def _mine(self) -> Paid:
        paid = self.cache.usd_by_judge(self.campaign)
        lost = self._lost()
        committed = Reservations(self.cache).committed(self.campaign)
        return {
            judge: (paid.get(judge, 0.0), max(0.0, usd - paid.get(judge, 0.0) - lost.get(judge, 0)))
            for judge, usd in sorted(committed.items())
        }

    def _lost(self) -> dict[str, float]:
        query = "SELECT judge, usd FROM reservations WHERE campaign = ? AND asset = ?"
        rows = self.cache.table(query, [self.campaign, LOST])
        return dict(zip(rows["judge"], rows["usd"], strict=True))

    def _set_aside(self, lost: dict[str, float]) -> float:
        before = self._lost()
        if before == lost:
            return 0.0
        rows = [(self.campaign, LOST, judge, usd) for judge, usd in lost.items()]
        with self.cache.transaction() as connection:
            connection.execute(
                "DELETE FROM reservations WHERE campaign = ? AND asset = ?", (self.campaign, LOST)
            )
            connection.executemany(
                "INSERT INTO reservations (campaign, asset, judge, usd, created_at) "
                "VALUES (?, ?, ?, ?, 0)",
                rows,
            )
        return sum(lost.values()) - sum(before.values())

    def _write(self, known: dict[str, Paid]) -> None:
        write_bytes(self.path, json.dumps(known, sort_keys=True).encode())


def read_receipts(path: AnyPath) -> dict[str, Paid]:
    """Paid and possibly charged US dollars, by reply cache and judge; empty without a file.

    Raises:
        ValueError: it is no such file.
    """
    found = read_bytes(path)
    if found is None:
        return {}
    try:
        return {
            str(cache): {
                str(judge): (float(paid), float(more)) for judge, (paid, more) in each.items()
            }
            for cache, each in json.loads(found).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the bill of judges {path} cannot be read: {error}. Put a copy of it back, or delete "
            "it: then only the reply cache says what was spent"
        ) from error


def _read(found: Mapping[str, tuple[float, float]]) -> Paid:
    return {str(judge): (float(paid), float(more)) for judge, (paid, more) in found.items()}


def paid_so_far(uri: str) -> tuple[float, float]:
    """US dollars that a campaign paid, and the most that may have been charged on top.

    Args:
        uri: the campaign's store.

    Raises:
        ValueError: the file cannot be read.
    """
    total = _sum(list(read_receipts(to_path(f"{uri.rstrip('/')}/{NAME}")).values()))
    return sum(paid for paid, _ in total.values()), sum(more for _, more in total.values())


def paid_before(uri: str) -> float:
    """US dollars that a campaign paid or may have paid, whatever became of its reply cache.

    Raises:
        ValueError: the file cannot be read.
    """
    return sum(paid_so_far(uri))


def _sum(parts: list[Paid]) -> Paid:
    total: Paid = {}
    for part in parts:
        for judge, (paid, more) in part.items():
            before = total.get(judge, (0.0, 0.0))
            total[judge] = before[0] + max(0.0, paid), before[1] + more
    return total
