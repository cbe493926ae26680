"""The reply cache: nothing is ever paid twice, and a killed campaign loses only what was in flight.

One SQLite file in WAL mode, shared by all assets, processes and campaigns of a store. A reply is
committed right after it came, in one transaction with what it cost, so that the budget is as
durable as the replies. `reservations.py` keeps what calls without a reply may have cost. What all
open calls and batches come to is kept as one number per judge, so that looking at it costs the same
however many there are.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from logging import getLogger
from pathlib import Path
from secrets import randbelow
from typing import Any

import pandas as pd

from synpref_dagster.judges.forms import RequestForm
from synpref_dagster.judges.requests import (
    BROKEN_OFF,
    AskTally,
    JudgeError,
    JudgeReply,
    JudgeRequest,
)
from synpref_dagster.storage.private import make_private
from synpref_dagster.storage.processes import alone_beside
from synpref_dagster.storage.sqlite_files import (
    add_columns,
    is_full,
    keep_totals,
    row_seal,
    text_as_it_is,
)

logger = getLogger(__name__)

BUSY_SECONDS = 60.0
KEYS_PER_QUERY = 500
NUM_NAMED = 3  # damaged replies in a line
CACHE_VERSION = 2
"""Of the file, as SQLite's `user_version`; raised when `BROKEN_OFF` tells more from replies."""
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
COPY = "Put a copy of it back, or move it away"
BOUGHT_AGAIN = f"{COPY}: then all replies are bought again, and what was spent counts"
OWN_TABLES = frozenset({"replies", "spending", "reservations", "batches"})
NOTHING_RESERVED = 0  # for a call that costs nothing
REPLY_FIELDS = tuple(field.name for field in fields(JudgeReply))
REPLY_TYPES: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(REPLY_FIELDS, str),
    **dict.fromkeys(("refused", "prompt_tokens", "completion_tokens"), int),
    **dict.fromkeys(("usd", "seconds"), float),
}
TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, campaign TEXT NOT NULL, asset TEXT NOT NULL, judge TEXT NOT NULL,
    endpoint TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL, sample INTEGER NOT NULL,
    text TEXT NOT NULL, finish_reason TEXT NOT NULL, mode TEXT NOT NULL, refused INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, usd REAL NOT NULL,
    seconds REAL NOT NULL, created_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spending (
    campaign TEXT NOT NULL, judge TEXT NOT NULL, asset TEXT NOT NULL, num_calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (campaign, judge, asset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, campaign TEXT NOT NULL, asset TEXT NOT NULL,
    judge TEXT NOT NULL, usd REAL NOT NULL, created_at REAL NOT NULL,
    key TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS reserved ON reservations (campaign, judge, usd);
CREATE TABLE IF NOT EXISTS open_totals (
    campaign TEXT NOT NULL, judge TEXT NOT NULL, num INTEGER NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (campaign, judge)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS schema_modes (
    endpoint TEXT NOT NULL, model TEXT NOT NULL, mode TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (endpoint, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS renamed_fields (
    endpoint TEXT NOT NULL, model TEXT NOT NULL, renamed TEXT NOT NULL,
    PRIMARY KEY (endpoint, model)
) WITHOUT ROWID;
"""
RESERVED_LATER = dict.fromkeys(("key", "owner"), "TEXT NOT NULL DEFAULT ''")
"""Columns of reservations: the question, and the process that waits for its answer."""
ASKED_NOW = "CREATE INDEX IF NOT EXISTS asked_now ON reservations (key) WHERE owner != ''"
SEALED = {"seal": "TEXT NOT NULL DEFAULT ''"}
"""Column of replies: a hash of the rest. SQLite does not notice when a value becomes another."""
UNSEALED = "CREATE INDEX IF NOT EXISTS unsealed ON replies (key) WHERE seal = ''"
SEAL = f"UPDATE replies SET seal = seal_of(key, {', '.join(REPLY_FIELDS)}) WHERE seal = ''"


@dataclass(frozen=True, kw_only=True, slots=True)
class Payer:
    """On whose account a reply is written."""

    campaign: str
    asset: str
    judge: str


class DamagedCacheError(JudgeError, ValueError):
    """The file of the replies is damaged, or is no such file."""


class CacheFullError(JudgeError, OSError):
    """The disk of the replies is full; nothing that is in the file is lost."""


class ReplyCache:
    """Replies by request key, and what was spent; safe to share between threads and processes."""

    def __init__(self, path: str | Path) -> None:
        """Open or create.

        Raises:
            DamagedCacheError: the file is damaged, cannot be opened, or is no such cache.
            CacheFullError: its disk is full.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        make_private(self.path)
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        try:
            # One process after the other: nobody may begin while the file changes its journal.
            with alone_beside(self.path):
                self._refuse_others()
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")  # WAL: survives kill -9
                self._connection.executescript(TABLES)
                self._connection.text_factory = text_as_it_is
                self._connection.create_function("seal_of", -1, row_seal, deterministic=True)
                with self.transaction() as connection:
                    add_columns(connection, "reservations", RESERVED_LATER)
                    add_columns(connection, "replies", SEALED)
                    connection.execute(UNSEALED)
                    connection.execute(SEAL)  # those of earlier versions, as they are
                    connection.execute(ASKED_NOW)
                    keep_totals(connection, "reservations", usd="usd")
                    self.identity = self._identity()
                if self._version() < CACHE_VERSION:
                    self._forget_errors()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file; replies are safe without it."""
        with self._lock:
            self._connection.close()

    def find(self, keys: Sequence[str], *, tally: AskTally | None = None) -> dict[str, JudgeReply]:
        """The replies that are there, by key; damaged ones are removed, so that they are asked.

        Args:
            keys: of requests.
            tally: counts the damaged ones.
        """
        found: dict[str, JudgeReply] = {}
        damaged: list[str] = []
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), KEYS_PER_QUERY):
            part = distinct[start : start + KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            columns = f"seal, key, {', '.join(REPLY_FIELDS)}"
            query = f"SELECT {columns} FROM replies WHERE key IN ({marks})"
            with self._reading():
                rows = self._connection.execute(query, part).fetchall()
            for seal, key, *values in rows:
                if seal not in ("", row_seal(key, *values)):
                    damaged.append(key)
                    continue
                known = dict(zip(REPLY_FIELDS, values, strict=True))
                found[key] = JudgeReply(**{**known, "refused": bool(known["refused"])})
        if damaged:
            self._forget_damaged(damaged)
        if tally is not None:
            tally.num_damaged += len(damaged)
        return found

    def _forget_damaged(self, keys: Sequence[str]) -> None:
        """What they cost stays booked."""
        logger.warning(
            "%d replies in %s no longer say what was kept (%s%s): they are asked again",
            *(len(keys), self.path, ", ".join(keys[:NUM_NAMED])),
            ", ..." if len(keys) > NUM_NAMED else "",
        )
        with self.transaction() as connection:
            connection.executemany("DELETE FROM replies WHERE key = ?", [(key,) for key in keys])

    def knows(self, endpoint: str, model: str) -> bool:
        """Whether a model at this base URL has ever replied."""
        query = "SELECT 1 FROM replies WHERE endpoint = ? AND model = ? LIMIT 1"
        with self._reading():
            return bool(self._connection.execute(query, [endpoint.rstrip("/"), model]).fetchall())

    def add(
        self,
        request: JudgeRequest,
        reply: JudgeReply,
        payer: Payer,
        *,
        reservation: int | None = None,
    ) -> None:
        """Keep a reply and book its price, in one transaction; of two of a key the first is kept.

        A reply to several requests at a time is kept under each of them.

        Args:
            request: what was asked.
            reply: what came, with its price.
            payer: on whose account.
            reservation: what was set aside for it (`Reservations.reserve`), which ends. A call with
                one is booked even if another process was answered first: both are paid for.
        """
        with self.transaction() as connection:
            for each, part in request.kept_as(reply):
                row: dict[str, str | int | float] = {**asdict(payer), **asdict(part)}
                row |= {"key": each.key, "model": each.model, "sample": each.sample}
                row["endpoint"] = each.endpoint.rstrip("/")
                row["prompt"] = f"{each.prompt.name}/{each.prompt.fingerprint}"
                _add_row(connection, row, reservation=reservation)

    def add_row(self, row: Mapping[str, str | int | float], *, batch: str | None = None) -> None:
        """The same from plain columns.

        Args:
            row: columns of the table of replies.
            batch: the batch that it comes from, known to the ledger. What a batch still owes is
                booked and owed no longer, also when somebody else was answered the same before.
        """
        with self.transaction() as connection:
            _add_row(connection, row, batch=batch)

    def spent(self, campaign: str) -> pd.DataFrame:
        """What a campaign paid: judge, asset, num_calls, prompt_tokens, completion_tokens, usd."""
        query = (
            "SELECT judge, asset, num_calls, prompt_tokens, completion_tokens, usd FROM spending "
            "WHERE campaign = ? ORDER BY judge, asset"
        )
        return self.table(query, [campaign])

    def usd_by_judge(self, campaign: str) -> dict[str, float]:
        """What a campaign paid each judge, in US dollars."""
        query = "SELECT judge, SUM(usd) FROM spending WHERE campaign = ? GROUP BY judge"
        with self._reading():
            return dict(self._connection.execute(query, (campaign,)).fetchall())

    def form(self, endpoint: str, model: str) -> RequestForm:
        """How requests are written for this endpoint: as they are until it refused something."""
        where = (endpoint.rstrip("/"), model)
        with self._reading():
            mode, renamed = (
                self._connection.execute(
                    f"SELECT {column} FROM {table} WHERE endpoint = ? AND model = ?", where
                ).fetchone()
                for column, table in (("mode", "schema_modes"), ("renamed", "renamed_fields"))
            )
        return RequestForm(
            mode=mode[0] if mode else "json_schema",
            renamed=json.loads(renamed[0]) if renamed else {},
        )

    def set_form(self, endpoint: str, model: str, *, form: RequestForm, reason: str) -> None:
        """Record what form an endpoint takes, and what it said about the one before."""
        where = (endpoint.rstrip("/"), model)
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO schema_modes VALUES (?, ?, ?, ?)",
                (*where, form.mode, reason[:500]),
            )
            connection.execute(
                "INSERT OR REPLACE INTO renamed_fields VALUES (?, ?, ?)",
                (*where, json.dumps(dict(form.renamed), sort_keys=True)),
            )

    def export(self, path: str | Path) -> int:
        """All replies as one Parquet file; returns how many."""
        frame = self.table("SELECT * FROM replies ORDER BY key").drop(columns=[*SEALED])
        frame.astype({"refused": bool}).to_parquet(path, index=False)
        return len(frame)

    def table(self, query: str, params: Sequence[str | int | float] = ()) -> pd.DataFrame:
        """The rows of a query; values are bound, never written into it."""
        with self._reading():
            return pd.read_sql_query(query, self._connection, params=list(params))

    def _identity(self) -> str:
        """A number drawn when the file was made: another file in its place has another one."""
        [found] = self._connection.execute("PRAGMA application_id").fetchone()
        if not found:
            found = 1 + randbelow(2**31 - 1)
            self._connection.execute(f"PRAGMA application_id = {found}")
        return f"{found:08x}"

    def _refuse_others(self) -> None:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = {str(row[0]) for row in self._connection.execute(query)}
        if tables and not tables & OWN_TABLES:
            raise sqlite3.DatabaseError("it holds tables of something else")

    def _unusable(self, error: Exception, done: str = "opened") -> JudgeError:
        said = f"the judges' reply cache {self.path} cannot be"
        if is_full(error):
            return CacheFullError(
                f"{said} written: {error}. Free space on its disk: replies that are in it stay, "
                "and what was under way counts as possibly paid (`synpref judges bill`)"
            )
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code not in DAMAGED:
            return DamagedCacheError(f"{said} {done}: {error}. Correct its place or its rights")
        return DamagedCacheError(f"{said} {done}: {error}. {BOUGHT_AGAIN}")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One thread at a time; damage that SQLite meets on the way is named."""
        with self._lock:
            try:
                yield
            except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
                cause = error if isinstance(error, sqlite3.DatabaseError) else error.__cause__
                if getattr(cause, "sqlite_errorcode", None) in (*DAMAGED, sqlite3.SQLITE_FULL):
                    raise self._unusable(cause or error, "read") from error
                raise

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _forget_errors(self) -> None:
        """Errors that were once kept as replies are asked again; what they cost stays booked."""
        marks = ",".join("?" * len(BROKEN_OFF))
        with self.transaction() as connection:
            if self._version() < CACHE_VERSION:  # no other process was quicker
                connection.execute(
                    f"DELETE FROM replies WHERE lower(finish_reason) IN ({marks})",
                    sorted(BROKEN_OFF),
                )
                connection.execute(f"PRAGMA user_version = {CACHE_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, alone: other threads and processes wait."""
        with self._reading():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # of a full disk SQLite has rolled back
                    self._connection.execute("ROLLBACK")
                raise


def _add_row(
    connection: sqlite3.Connection, row: Mapping[str, Any], *,
    reservation: int | None = None, batch: str | None = None,
) -> None:  # fmt: skip
    said = (REPLY_TYPES[name](row[name]) for name in REPLY_FIELDS)
    row = {**row, "created_at": time.time(), "seal": row_seal(row["key"], *said)}
    columns = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    cursor = connection.execute(f"INSERT OR IGNORE INTO replies ({columns}) VALUES ({values})", row)
    if reservation:
        connection.execute("DELETE FROM reservations WHERE id = ?", (reservation,))
    elif batch is not None:
        if _settle(connection, batch, str(row["key"])) == 0:
            return
    elif cursor.rowcount == 0:
        return
    connection.execute(
        "INSERT INTO spending VALUES (:campaign, :judge, :asset, 1, :prompt_tokens, "
        ":completion_tokens, :usd) ON CONFLICT DO UPDATE SET num_calls = num_calls + 1, "
        "prompt_tokens = prompt_tokens + excluded.prompt_tokens, completion_tokens = "
        "completion_tokens + excluded.completion_tokens, usd = usd + excluded.usd",
        row,
    )


def _settle(connection: sqlite3.Connection, batch: str, key: str) -> int:
    """Ends what is promised to one request of a batch: 0 when nothing was."""
    return connection.execute(
        "UPDATE batches SET state = 'answered' WHERE batch = ? AND key = ? AND state = 'pending'",
        (batch, key),
    ).rowcount
