"""What an upgrade would change, in words and as a function, and copies of what it changes."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from synpref_dagster.storage.sqlite_files import open_read_only


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing of an older version, at one place."""

    place: str
    """File, folder or address."""
    says: str
    """What is done about it, or why nothing can be."""
    loses: str = ""
    """What is lost or paid for again; empty for nothing."""
    act: Callable[[], None] | None = None
    """Does it; None where it happens by itself, at the next use."""
    copied: tuple[Path, ...] = ()
    """Files and folders to copy before; a server's database is its owner's to copy."""
    is_hindrance: bool = False
    """Whether people have to do something first: then nothing is changed anywhere."""


def copy_beside(path: Path, *, stamp: str) -> Path:
    """A copy of a file, or of a folder with all that is in it; databases as of one moment.

    Args:
        path: what is copied.
        stamp: ends the copy's name.

    Returns:
        Where the copy is: `NAME.before-STAMP`.

    Raises:
        OSError: it cannot be written, for instance because there is one of this name.
    """
    target = path.with_name(f"{path.name}.before-{stamp}")
    if target.exists():
        raise FileExistsError(f"{target} is there already")
    if path.is_dir():
        shutil.copytree(path, target, copy_function=_copy)
    else:
        _copy(str(path), str(target))
    return target


def _copy(source: str, target: str) -> str:
    if not _is_sqlite(Path(source)):
        if not source.endswith(("-wal", "-shm")):  # they are in the copy of their database
            shutil.copy2(source, target)
        return target
    Path(target).touch(mode=0o600)  # what only its owner may read stays so from the first byte
    with (
        open_read_only(Path(source)) as connection,
        closing(sqlite3.connect(target)) as copy,
    ):
        connection.backup(copy)
    shutil.copymode(source, target)
    return target


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\x00"
