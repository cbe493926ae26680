"""Which requests are in which batch, and what became of each: one table beside the reply cache.

A row stays `pending` while its batch is under way. Then it is `answered`, `failed` (the service
gave an error for this very request), `unanswered` (the batch ended without it: expired, cancelled)
or `unsent` (the service never got the batch). What is under way counts against the budget.
"""

from collections.abc import Mapping, Sequence
from time import time
from typing import Literal

import pandas as pd

from synpref_dagster.judges.cache import KEYS_PER_QUERY, Payer, ReplyCache

RowState = Literal["answered", "failed", "unanswered", "unsent"]
TABLE = """
CREATE TABLE IF NOT EXISTS batches (
    batch TEXT NOT NULL, key TEXT NOT NULL, campaign TEXT NOT NULL, asset TEXT NOT NULL,
    judge TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
    sample INTEGER NOT NULL, mode TEXT NOT NULL, state TEXT NOT NULL,
    most_usd REAL NOT NULL DEFAULT 0, used INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (batch, key)
) WITHOUT ROWID;
"""
# What is promised is summed before every priced call: without a walk through all old batches.
INDEX = """
CREATE INDEX IF NOT EXISTS promised ON batches (campaign, judge, most_usd) WHERE state = 'pending'
"""
ADDED_LATER = {"most_usd": "REAL NOT NULL DEFAULT 0", "used": "INTEGER NOT NULL DEFAULT 0"}


class BatchLedger:
    """The batches of a reply cache, in the same file."""

    def __init__(self, cache: ReplyCache) -> None:
        self.cache = cache
        with cache.transaction() as connection:
            connection.execute(TABLE)
            known = {row[1] for row in connection.execute("PRAGMA table_info(batches)")}
            for name, kind in ADDED_LATER.items():
                if name not in known:
                    connection.execute(f"ALTER TABLE batches ADD COLUMN {name} {kind}")
            connection.execute(INDEX)

    def add(
        self,
        batch: str,
        rows: Sequence[Mapping[str, str | int | float]],
        *,
        reservation: int | None = None,
    ) -> None:
        """Remember the requests of a batch that is about to be sent.

        Args:
            batch: its name.
            rows: its requests.
            reservation: what was set aside for them and others; what they may cost moves from it
                to the batch, so that it never counts twice and never not at all.
        """
        most = sum(float(row.get("most_usd", 0.0)) for row in rows)
        with self.cache.transaction() as connection:
            connection.execute(
                "UPDATE reservations SET usd = MAX(0, usd - ?) WHERE id = ?", (most, reservation)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO batches VALUES (:batch, :key, :campaign, :asset, :judge, "
                ":endpoint, :model, :prompt, :sample, :mode, 'pending', :most_usd, 0)",
                [{"batch": batch, "most_usd": 0.0, **row} for row in rows],
            )

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
                "INSERT INTO reservations (campaign, asset, judge, usd, created_at) SELECT "
                "campaign, asset, judge, most_usd, ? FROM batches WHERE batch = ? AND key = ? AND "
                "state = 'pending' AND most_usd > 0",
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
