"""SQLite files that others keep their rows in: a damaged one is named, in one line.

SQLite finds damage in its own structure, and in the middle of a query. It is asked once, before the
work. What it cannot find is a value that became another one: rows that decide carry seals. Tables
of an earlier version get the columns that they lack.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from errno import EDQUOT, ENOSPC
from hashlib import blake2b
from pathlib import Path
from typing import Any

from synpref_dagster.storage.sealed import DamagedError

BROKEN_LETTERS = "malformed: letters of a name are broken"
"""What is damaged when the text of SQLite's own error, with a name in it, is no text."""
_found_sound: set[Path] = set()
OPENED = """
INSERT INTO open_totals SELECT campaign, judge, {num}, {usd} FROM {rows}
ON CONFLICT (campaign, judge) DO UPDATE SET num = num + excluded.num, usd = usd + excluded.usd;
"""
CLOSED = """
UPDATE open_totals SET num = num - 1, usd = MAX(0, usd - old.{usd})
WHERE campaign = old.campaign AND judge = old.judge AND {is_open};
DELETE FROM open_totals WHERE campaign = old.campaign AND judge = old.judge AND num <= 0;
"""
"""The last one takes what rounding left with it."""


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing and makes no file, whatever letters the path has.

    In an address, `#` and `?` end a path and `%41` is another letter: they are escaped.

    Args:
        path: of the SQLite file.

    Raises:
        sqlite3.OperationalError: there is none, or it cannot be opened.
        sqlite3.DatabaseError: it is damaged, also where SQLite says so in broken letters.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            yield connection
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError(BROKEN_LETTERS) from error


def refuse_damaged(path: Path, *, what: str, remedy: str) -> None:
    """Have SQLite look through a whole file, once per process.

    A file that is not there or in use passes: who opens it says so.

    Args:
        path: of the SQLite file.
        what: names it for people, `the MLflow database`.
        remedy: what they do about it; whole sentences.

    Raises:
        DamagedError: the file is damaged.
    """
    place = path.resolve()
    if place in _found_sound or not place.is_file():
        return
    if said := _complaint(place):
        raise DamagedError(f"{what} {path} is damaged: {said}. {remedy}")
    _found_sound.add(place)


def row_seal(*row: Any) -> str:
    """Hash of a row's values, as SQLite gives them back, in 16 hexadecimal digits."""
    return blake2b(repr(row).encode(), digest_size=8).hexdigest()


def text_as_it_is(data: bytes) -> str:
    """A text whose letters may be broken: then its seal tells, and no query fails for it."""
    return data.decode("utf-8", "surrogateescape")


def is_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that a disk or a quota is full."""
    said: BaseException | None = error
    while said is not None:
        if isinstance(said, OSError) and said.errno in (ENOSPC, EDQUOT):
            return True
        if "disk is full" in str(said):
            return True
        said = said.__cause__
    return False


def _complaint(path: Path) -> str:
    """What SQLite has to say against a file, in one line."""
    try:
        with open_read_only(path) as connection:
            # The limit holds for each kind of check, so that there may be several rows.
            said, *_ = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        said = error
    return "" if said == "ok" else " ".join(str(said).split())


def add_columns(connection: sqlite3.Connection, table: str, columns: Mapping[str, str]) -> None:
    """Give a table of an earlier version the columns that it lacks."""
    known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    for name, kind in columns.items():
        if name not in known:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")


def keep_totals(
    connection: sqlite3.Connection, table: str, *, usd: str, is_open: str = "TRUE"
) -> None:
    """Let the database itself keep what the open rows of a table come to, whoever writes them.

    Args:
        connection: in a transaction, so that no row comes between the first sum and its keeping.
        table: one with campaign and judge.
        usd: its column of US dollars.
        is_open: whether a row counts, with `{row}` for the row.
    """
    name = f"{table}_opened"
    query = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = ?"
    if connection.execute(query, (name,)).fetchone():
        return
    new, old, any_row = (is_open.format(row=row) for row in ("new", "old", table))
    one = f"(SELECT new.campaign AS campaign, new.judge AS judge) WHERE {new}"
    opened = OPENED.format(num=1, usd=f"new.{usd}", rows=one)
    closed = CLOSED.format(usd=usd, is_open=old)
    of_all = f"{table} WHERE {any_row} GROUP BY campaign, judge"
    connection.execute(OPENED.format(num="COUNT(*)", usd=f"SUM({usd})", rows=of_all))
    for event, done, work in (
        ("opened", "INSERT", opened),
        ("changed", "UPDATE", closed + opened),
        ("closed", "DELETE", closed),
    ):
        connection.execute(
            f"CREATE TRIGGER {table}_{event} AFTER {done} ON {table} BEGIN {work} END"
        )
