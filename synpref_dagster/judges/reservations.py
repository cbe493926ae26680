"""What calls may have cost: money is written down before a call is sent, beside the reply cache.

A row stands from before an attempt until its reply is booked, or until the endpoint said that it
did no work. What timed out, broke off or was killed keeps its row: the endpoint may charge for it,
nobody here can know, and it counts against the caps until people forgive it. All processes on a
cache see each other's rows, and look and write in one transaction, so that together they stay below
a cap.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import astuple
from sqlite3 import Connection
from time import time

import pandas as pd

from synpref_dagster.judges.batches.ledger import BatchLedger, is_in_batch
from synpref_dagster.judges.cache import NOTHING_RESERVED, Payer, ReplyCache
from synpref_dagster.judges.requests import BatchPendingError
from synpref_dagster.storage.processes import process_name

COMMITTED = """
SELECT judge, SUM(usd) FROM (
    SELECT judge, usd FROM spending WHERE campaign = :campaign
    UNION ALL SELECT judge, usd FROM open_totals WHERE campaign = :campaign
) GROUP BY judge
"""
"""Read before every priced call; `open_totals` has a row per judge, however much is open."""


class Reservations:
    """Money set aside in a reply cache, for calls whose price is not known or not yet."""

    def __init__(self, cache: ReplyCache) -> None:
        self.cache = cache
        BatchLedger(cache)  # what batches under way may cost is part of the sum

    def reserve(
        self,
        payer: Payer,
        usd: float,
        *,
        fits: Callable[[Mapping[str, float]], bool],
        key: str = "",
    ) -> int | None:
        """Set money aside, in one transaction with the look at what is left.

        Args:
            payer: who spends it.
            usd: the most that it may come to; nothing is written for 0.
            fits: whether it still fits beside what judges have cost or may cost, by judge.
            key: of the request that is sent now; none where money is set aside for several.

        Returns:
            The number to settle it by; None when it does not fit.

        Raises:
            BatchPendingError: a batch under way asks the same.
        """
        if usd <= 0:
            return NOTHING_RESERVED
        with self.cache.transaction() as connection:
            if key and is_in_batch(connection, key):
                raise BatchPendingError("a batch under way asks the same: run again later")
            if not fits(_committed(connection, payer.campaign)):
                return None
            with closing(
                connection.execute(
                    "INSERT INTO reservations (campaign, asset, judge, usd, created_at, key, "
                    "owner) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*astuple(payer), usd, time(), key, process_name() if key else ""),
                )
            ) as cursor:
                return cursor.lastrowid

    def release(self, reservation: int) -> None:
        """Nothing was charged, or what was is booked elsewhere."""
        if reservation != NOTHING_RESERVED:
            with self.cache.transaction() as connection:
                connection.execute("DELETE FROM reservations WHERE id = ?", (reservation,))

    def end(self, reservation: int) -> None:
        """Nobody waits for the answer any longer; what it may have cost stays set aside."""
        if reservation != NOTHING_RESERVED:
            with self.cache.transaction() as connection:
                connection.execute(
                    "UPDATE reservations SET owner = '' WHERE id = ?", (reservation,)
                )

    def committed(self, campaign: str) -> dict[str, float]:
        """US dollars by judge: paid, possibly charged, and promised to batches, all together."""
        with self.cache.transaction() as connection:
            return _committed(connection, campaign)

    def possible(self, campaign: str) -> pd.DataFrame:
        """Calls without a known price: judge, asset, num_calls, usd (the most they came to)."""
        return self.cache.table(
            "SELECT judge, asset, COUNT(*) AS num_calls, SUM(usd) AS usd FROM reservations "
            "WHERE campaign = ? GROUP BY judge, asset ORDER BY judge, asset",
            [campaign],
        )

    def forgive(self, campaign: str, *, before: float) -> tuple[int, float]:
        """Count calls without an answer as free from now on.

        Args:
            campaign: whose calls.
            before: only those sent before this time, in seconds since 1970: later ones may still
                be under way.

        Returns:
            How many there were, and their US dollars.
        """
        chosen = "FROM reservations WHERE campaign = ? AND created_at < ?"
        with self.cache.transaction() as connection:
            query = f"SELECT COUNT(*), COALESCE(SUM(usd), 0) {chosen}"
            num_calls, usd = connection.execute(query, (campaign, before)).fetchone()
            connection.execute(f"DELETE {chosen}", (campaign, before))
        return num_calls, usd


def _committed(connection: Connection, campaign: str) -> dict[str, float]:
    return dict(connection.execute(COMMITTED, {"campaign": campaign}).fetchall())
