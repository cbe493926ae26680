"""Which process owns a run, written beside it: what a killed process left is found by it."""

import os
import socket

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
