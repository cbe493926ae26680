"""Processes that share a machine: who owns what was left behind, and who may go first."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from synpref_dagster.storage.private import make_private
from synpref_dagster.storage.uris import process_is_alive


def process_name() -> str:
    """This process as others find it: `host:id`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_gone(name: str) -> bool:
    """Whether a process of this machine is dead; of other machines nobody here knows."""
    host, _, process = name.rpartition(":")
    return (
        host == socket.gethostname() and process.isdecimal() and not process_is_alive(int(process))
    )


@contextmanager
def alone_with(what: str) -> Iterator[None]:
    """One process of this user on this machine at a time; a killed one holds up nobody.

    Args:
        what: names what is shared, e.g. a path or an address.

    Raises:
        ValueError: the folder of the locks belongs to somebody else.
    """
    folder = Path(tempfile.gettempdir()) / f"synpref-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ValueError(f"{folder} belongs to somebody else; remove it or set TMPDIR")
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    with (folder / f"{name}.lock").open("w") as handle:
        flock(handle, LOCK_EX)
        yield


@contextmanager
def alone_beside(path: Path) -> Iterator[None]:
    """One process at a time, by a lock file beside a path; a killed one holds up nobody.

    The place for temporary files differs between users, containers and jobs of a cluster, what
    they share is the folder. Where no lock can be held in it, this user's processes are alone.

    Args:
        path: what is shared; its folder is there.
    """
    path = path.resolve()
    with ExitStack() as held:
        try:
            lock = path.with_name(f".{path.name}.lock")
            make_private(lock)  # also the group's, where the folder is
            handle = held.enter_context(lock.open("a"))
            flock(handle, LOCK_EX)
        except OSError:  # somebody else's file, or a file system without locks
            held.enter_context(alone_with(str(path)))
        yield
