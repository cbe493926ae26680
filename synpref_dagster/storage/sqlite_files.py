"""SQLite files that others keep their rows in: a damaged one is named, in one line.

SQLite finds damage in its own structure, and in the middle of a query. It is asked once, before the
work. What it cannot find is a value that became another one: rows that decide carry seals.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from synpref_dagster.storage.sealed import DamagedError

BROKEN_LETTERS = "malformed: letters of a name are broken"
"""What is damaged when the text of SQLite's own error, with a name in it, is no text."""
_found_sound: set[Path] = set()


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
