"""Which requests are in which batch, and what became of each: one table beside the reply cache.

A row stays `pending` while its batch is under way. Then it is `answered`, `failed` (the service
gave an error for this very request), `unanswered` (the batch ended without it: expired, cancelled,
forgotten), `unsent` (the service never got the batch) or `forgiven` (people gave it up). What is
under way counts against the budget, and is asked by nobody else.
"""

from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection
from time import time
from typing import Any, Literal

import pandas as pd

from synpref_dagster.judges.cache import KEYS_PER_QUERY, Payer, ReplyCache
from synpref_dagster.storage.processes import is_gone
from synpref_dagster.storage.sqlite_files import add_columns, keep_totals

RowState = Literal["answered", "failed", "unanswered", "unsent"]
CALL_SECONDS = 3600.0
"""No call takes longer; whether a process of another machine still waits, nobody here can see."""
TABLE = """
CREATE TABLE IF NOT EXISTS batches (
    batch TEXT NOT NULL, key TEXT NOT NULL, campaign TEXT NOT NULL, asset TEXT NOT NULL,
    judge TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
    sample INTEGER NOT NULL, mode TEXT NOT NULL, state TEXT NOT NULL,
    most_usd REAL NOT NULL DEFAULT 0, used INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL DEFAULT 0, PRIMARY KEY (batch, key)
) WITHOUT ROWID;
"""
# Every priced call looks whether its question is under way: without a walk through all batches.
INDEX = "CREATE INDEX IF NOT EXISTS under_way ON batches (key) WHERE state = 'pending'"
ADDED_LATER = {
    "most_usd": "REAL NOT NULL DEFAULT 0",
    "used": "INTEGER NOT NULL DEFAULT 0",
    "created_at": "REAL NOT NULL DEFAULT 0",
}
ADD = """
INSERT INTO batches VALUES (:batch, :key, :campaign, :asset, :judge, :endpoint, :model, :prompt,
:sample, :mode, 'pending', :most_usd, 0, :created_at)
ON CONFLICT DO UPDATE SET campaign = excluded.campaign, asset = excluded.asset, judge =
excluded.judge, state = 'pending', most_usd = excluded.most_usd, used = 0, created_at =
excluded.created_at
"""


class BatchLedger:
    """The batches of a reply cache, in the same file."""

    def __init__(self, cache: ReplyCache) -> None:
        self.cache = cache
        with cache.transaction() as connection:
            connection.execute(TABLE)
            add_columns(connection, "batches", ADDED_LATER)
            connection.execute(INDEX)
            keep_totals(connection, "batches", usd="most_usd", is_open="{row}.state = 'pending'")

    def add(
        self,
        batch: str,
        rows: Sequence[Mapping[str, str | int | float]],
        *,
        reservation: int | None = None,
    ) -> set[str]:
        """Remember the requests of a batch that is about to be sent.

        Args:
            batch: its name.
            rows: its requests.
            reservation: what was set aside for them and others; what they may cost moves from it
                to the batch, so that it never counts twice and never not at all.

        Returns:
            The keys that the batch may carry: not those that a call or another batch asks now.
        """
        with self.cache.transaction() as connection:
            keys = [str(row["key"]) for row in rows]
            taken = _in_batches(connection, keys) | _in_calls(connection, keys)
            free = [row for row in rows if row["key"] not in taken]
            most = sum(float(row.get("most_usd", 0.0)) for row in free)
            connection.execute(
                "UPDATE reservations SET usd = MAX(0, usd - ?) WHERE id = ?", (most, reservation)
            )
            about = {"batch": batch, "most_usd": 0.0, "created_at": time()}
            connection.executemany(ADD, [{**about, **row} for row in free])
        return {str(row["key"]) for row in free}

    def held(self, keys: Sequence[str]) -> set[str]:
        """The requests that a batch under way asks, of whichever campaign."""
        with self.cache.transaction() as connection:
            return _in_batches(connection, keys)

    def pending(self, batch: str | None = None) -> pd.DataFrame:
        """Requests of batches that are under way: of one batch, or of all."""
        query = "SELECT * FROM batches WHERE state = 'pending'"
        if batch is None:
            return self.cache.table(query)
        return self.cache.table(f"{query} AND batch = ?", [batch])

    def rename(self, batch: str, name: str) -> None:
        """Give a batch the name by which its service knows it: now it is under way."""
        with self.cache.transaction() as connection:
            connection.execute(
                "UPDATE batches SET batch = ?, state = 'pending' WHERE batch = ?", (name, batch)
            )

    def close(
        self,
        batch: str,
        *,
        answered: Sequence[str] = (),
        failed: Sequence[str] = (),
        uncertain: Sequence[str] = (),
        rest: RowState = "unanswered",
    ) -> None:
        """Say what became of each request of a batch.

        Args:
            batch: its name.
            answered: keys whose reply is in the cache.
            failed: keys for which the service gave an error.
            uncertain: keys without a reply that it may charge for all the same: the most that they
                can cost is set aside from now on.
            rest: state of all others.
        """
        marked = [("answered", batch, key) for key in answered]
        marked += [("failed", batch, key) for key in failed]
        with self.cache.transaction() as connection:
            connection.executemany(
                "INSERT INTO reservations (campaign, asset, judge, usd, created_at, key) SELECT "
                "campaign, asset, judge, most_usd, ?, key FROM batches WHERE batch = ? AND key = ? "
                "AND state = 'pending' AND most_usd > 0",
                [(time(), batch, key) for key in uncertain],
            )
            connection.execute(
                "UPDATE batches SET state = ? WHERE batch = ? AND state = 'pending'", (rest, batch)
            )
            connection.executemany(
                "UPDATE batches SET state = ? WHERE batch = ? AND key = ?", marked
            )

    def given_up(self, keys: Sequence[str], *, max_batches: int) -> set[str]:
        """The requests that no further batch should carry: they are asked one by one.

        These are the ones that a service gave an error for, and the ones that `max_batches` batches
        ended without.
        """
        found: set[str] = set()
        for start in range(0, len(keys), KEYS_PER_QUERY):
            part = list(keys[start : start + KEYS_PER_QUERY])
            marks = ",".join("?" * len(part))
            rows = self.cache.table(
                f"SELECT key FROM batches WHERE key IN ({marks}) GROUP BY key HAVING "
                "SUM(state = 'failed') > 0 OR SUM(state = 'unanswered') >= ?",
                [*part, max_batches],
            )
            found.update(rows["key"])
        return found

    def promised(self, campaign: str) -> dict[str, float]:
        """The most that batches under way may cost a campaign, by judge."""
        rows = self.cache.table(
            "SELECT judge, SUM(most_usd) AS usd FROM batches WHERE campaign = ? AND "
            "state = 'pending' GROUP BY judge",
            [campaign],
        )
        return dict(zip(rows["judge"], rows["usd"], strict=True))

    def forgive(self, campaign: str, *, before: float) -> tuple[int, float]:
        """Give up batches under way: nobody waits for them, and they count as free.

        Args:
            campaign: whose batches.
            before: only those sent before this time, in seconds since 1970.

        Returns:
            How many requests were in them, and the most US dollars that they could cost.
        """
        chosen = "FROM batches WHERE campaign = ? AND state = 'pending' AND created_at < ?"
        with self.cache.transaction() as connection:
            query = f"SELECT COUNT(*), COALESCE(SUM(most_usd), 0) {chosen}"
            num, usd = connection.execute(query, (campaign, before)).fetchone()
            update = chosen.replace("FROM batches", "UPDATE batches SET state = 'forgiven'")
            connection.execute(update, (campaign, before))
        return num, usd

    def counts(self, payer: Payer) -> dict[str, int]:
        """How many requests of one judge and asset are in which state."""
        rows = self.cache.table(
            "SELECT state, COUNT(*) AS num FROM batches WHERE campaign = ? AND asset = ? AND "
            "judge = ? GROUP BY state ORDER BY state",
            [payer.campaign, payer.asset, payer.judge],
        )
        return {str(row.state): int(row.num) for row in rows.itertuples()}

    def unused(self, campaign: str) -> pd.DataFrame:
        """Batches that ended and that no run has made use of: batch, asset."""
        return self.cache.table(
            "SELECT DISTINCT batch, asset FROM batches WHERE campaign = ? AND used = 0 AND "
            "state != 'pending' ORDER BY asset, batch",
            [campaign],
        )

    def mark_used(self, payer: Payer) -> None:
        """A run has all the replies that a judge owed an asset; nothing has to be continued."""
        with self.cache.transaction() as connection:
            connection.execute(
                "UPDATE batches SET used = 1 WHERE campaign = ? AND asset = ? AND judge = ? AND "
                "state != 'pending'",
                (payer.campaign, payer.asset, payer.judge),
            )


def is_in_batch(connection: Connection, key: str) -> bool:
    """Whether a batch under way asks a request."""
    return bool(_in_batches(connection, [key]))


def _in_batches(connection: Connection, keys: Sequence[str]) -> set[str]:
    query = "SELECT key FROM batches WHERE state = 'pending' AND key IN ({})"
    return {str(row[0]) for row in _rows(connection, query, keys)}


def _in_calls(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Requests whose answer a process waits for at this moment."""
    query = (
        "SELECT key, owner FROM reservations WHERE owner != '' AND key IN ({}) "
        f"AND created_at > {time() - CALL_SECONDS}"
    )
    return {str(key) for key, owner in _rows(connection, query, keys) if not is_gone(owner)}


def _rows(connection: Connection, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of a query about keys, which stand in the place of its braces."""
    for start in range(0, len(keys), KEYS_PER_QUERY):
        part = keys[start : start + KEYS_PER_QUERY]
        yield from connection.execute(query.format(",".join("?" * len(part))), part).fetchall()
