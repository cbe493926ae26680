"""SQLite files that others keep their rows in: a damaged one is named, in one line.

SQLite finds damage in its own structure, and in the middle of a query. It is asked once, before the
work. What it cannot find is a value that became another one: rows that decide carry seals.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from synpref_dagster.storage.sealed import DamagedError

_found_sound: set[Path] = set()


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


def _complaint(path: Path) -> str:
    """What SQLite has to say against a file, in one line."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            [(said,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if said == "ok" else " ".join(str(said).split())
