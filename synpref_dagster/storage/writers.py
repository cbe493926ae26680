"""Who writes a store: one campaign under one set of settings, from one Dagster instance at a time.

Whoever begins puts a small file below `writers/` of the store, looks who else is there, and begins
only when it sees no other work; of two that begin at once at least one sees the other. This needs
plain puts, gets and lists, so an object store is guarded like a folder. Runs of the same work may
go on side by side: they find each other's finished steps.

Clocks of machines are never compared: how old a sign of life is says the clock of the store, and
before a writer is taken for dead it is watched for a while.
"""

import getpass
import json
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from synpref_dagster.storage.uris import (
    AnyPath,
    explained,
    file_sizes,
    join_uri,
    modified,
    process_is_alive,
    read_bytes,
    to_path,
    write_bytes,
)

logger = logging.getLogger(__name__)

FOLDER = "writers"
BEAT_SECONDS = 20.0
DEAD_SECONDS = 180.0
"""A writer on another machine that gave no sign of life for so long is taken for dead."""
WATCHED_BEATS = 1.5
"""So long it is watched before: a clock that was set ahead makes every sign of life old."""
LOOKS_PER_BEAT = 8
MAX_ATTEMPTS = 20
LONGEST_WAIT = 0.5  # seconds between attempts of two that begin at once


class StoreInUseError(ValueError):
    """Another campaign writes the store; the message says who, since when, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is written: two of the same may be at work in one store."""

    campaign: str
    """What people call it."""
    settings: str
    """Fingerprint of its settings."""
    instance: str
    """Which Dagster instance it is run from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """A process that writes a store."""

    work: Work
    host: str
    space: str
    """Tells containers apart that call themselves by one name."""
    process: int
    born: str
    """When the process began, in the words of its system; a later one has another."""
    user: str
    since: float
    """Unix time."""
    beat: float
    """Of the last sign of life; by its own clock, so that it only says that there is a new one."""
    holds: bool
    """Whether it has looked who else is there and found nobody."""

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, of which everything is known."""
        return (self.host, self.space) == (socket.gethostname(), _space())

    def is_dead(self) -> bool:
        """Whether it is one of this machine that surely is."""
        is_there = process_is_alive(self.process) and self.born == _born(self.process)
        return self.is_here and not is_there

    def seconds_to_watch(self, age: float) -> float:
        """How long it has to stay silent to be taken for dead; none when it surely is alive.

        Args:
            age: of its last sign of life, in seconds. One below 0 says that a clock was set back.
        """
        if self.is_here or -BEAT_SECONDS <= age <= DEAD_SECONDS:
            return 0.0
        return BEAT_SECONDS * WATCHED_BEATS if age > 0 else DEAD_SECONDS

    def told(self, mine: Work, *, root: str, file: str, age: float) -> str:
        """Why somebody else cannot begin."""
        same_settings = self.work.settings == mine.settings
        how = "from another Dagster instance" if same_settings else "under other settings"
        began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.since))
        return (
            f"the store {root} is being written by campaign {self.work.campaign} {how}: process "
            f"{self.process} of {self.user} on {self.host}, since {began}, last sign of life "
            f"{max(0, age):.0f} s ago. Wait until it ends, or write elsewhere "
            f"(SYNPREF_STORE, or another name of the profile); if it is dead, delete {file}"
        )


class _Other(NamedTuple):
    """A writer of other work, as it was found."""

    file: str
    writer: Writer
    age: float
    """Of its last sign of life, in seconds, by the clock of the store."""


class _Presence:
    """This process in one store: its file, and the thread that keeps it fresh."""

    def __init__(self, root: str, work: Work) -> None:
        self.work, self.root = work, root
        self.folder = to_path(join_uri(root, FOLDER))
        self.name = f"{socket.gethostname()}~{os.getpid()}-{secrets.token_hex(4)}.json"
        self.count = 0
        self._writer = _this_process(work)
        self._ended = threading.Event()

    def begin(self) -> None:
        """Become the writer, or one of those of the same work.

        Raises:
            StoreInUseError: other work is under way.
        """
        for attempt in range(MAX_ATTEMPTS):
            self._write(holds=False)
            try:
                others = self._others()
            except BaseException:  # a file left there would hold up others
                self.leave()
                raise
            if not others:
                self._write(holds=True)
                self._ended = threading.Event()
                beats = threading.Thread(target=self._beat, args=[self._ended], daemon=True)
                beats.start()
                return
            self.leave()
            is_last = attempt + 1 == MAX_ATTEMPTS
            if not is_last and all(map(self._is_silent, others)):
                continue
            if is_last or any(each.writer.holds for each in others):
                other = max(others, key=lambda each: each.writer.holds)
                where = join_uri(self.root, FOLDER, other.file)
                why = other.writer.told(self.work, root=self.root, file=where, age=other.age)
                raise StoreInUseError(why)
            # Whether it is seen by us or we by it is a matter of luck: the next time it is not.
            time.sleep(random.uniform(0, LONGEST_WAIT))

    def leave(self) -> None:
        """Take the file away."""
        self._ended.set()
        _remove(self.folder / self.name)

    def is_lost(self) -> bool:
        """Whether somebody took this process for dead, or deleted its file."""
        return read_bytes(self.folder / self.name) is None

    def _others(self) -> list["_Other"]:
        """Writers of other work that may be alive; the files of those known dead are removed."""
        found = []
        for name in sorted(file_sizes(self.folder)):
            if name == self.name or not name.endswith(".json"):
                continue
            other = self._read(name)
            if other is None:
                continue
            if other.is_dead():
                _remove(self.folder / name)
            elif other.work != self.work:
                found.append(_Other(name, other, self._age(name)))
        return found

    def _age(self, name: str) -> float:
        """Seconds by which a file is older than our own, which was written a moment ago."""
        now, then = modified(self.folder / self.name), modified(self.folder / name)
        return now - then if now is not None and then is not None else 0.0

    def _is_silent(self, other: "_Other") -> bool:
        """Whether a writer that seems dead stays so while it is watched; then its file goes."""
        seconds = other.writer.seconds_to_watch(other.age)
        if not seconds:
            return False
        file = join_uri(self.root, FOLDER, other.file)
        logger.warning("%s seems to be of a dead writer: watched for %.0f s", file, seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(BEAT_SECONDS / LOOKS_PER_BEAT)
            if self._read(other.file) != other.writer:
                return False
        _remove(self.folder / other.file)
        return True

    def _read(self, name: str) -> Writer | None:
        data = read_bytes(self.folder / name)
        if data is None:
            return None  # it has just ended
        try:
            facts = json.loads(data)
            return Writer(**{**facts, "work": Work(**facts["work"])})
        except (ValueError, TypeError, KeyError) as error:
            raise StoreInUseError(
                f"{join_uri(self.root, FOLDER, name)} does not say who writes the store: when "
                "nobody does, delete it"
            ) from error

    def _write(self, *, holds: bool) -> None:
        self._writer = replace(self._writer, beat=time.time(), holds=holds)
        write_bytes(self.folder / self.name, json.dumps(asdict(self._writer)).encode())

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(OSError):  # a store that is away for a while
                if self.is_lost():
                    return
                self._write(holds=True)


_present: dict[str, _Presence] = {}
_lock = threading.RLock()


@contextmanager
def writing(root: str, work: Work) -> Iterator[None]:
    """Be the writer of a store, as often as one likes within a process.

    Args:
        root: folder or `s3://` prefix of the store.
        work: what is written.

    Raises:
        StoreInUseError: other work is under way there, in this process or another.
    """
    with _lock:
        presence = _present.get(root)
        if presence is None or presence.work != work or _is_strange(presence):
            presence = _Presence(root, work)
            presence.begin()
            _present[root] = presence
        presence.count += 1
    try:
        yield
    finally:
        with _lock:
            presence.count -= 1
            if not presence.count:
                if _present.get(root) is presence:
                    del _present[root]
                presence.leave()


def _is_strange(presence: _Presence) -> bool:
    """Whether it is that of the process that this one was forked from, or no longer there."""
    return f"~{os.getpid()}-" not in presence.name or presence.is_lost()


def _this_process(work: Work) -> Writer:
    now = time.time()
    return Writer(
        work=work,
        host=socket.gethostname(),
        space=_space(),
        process=os.getpid(),
        born=_born(os.getpid()),
        user=_user(),
        since=now,
        beat=now,
        holds=False,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())


def _space() -> str:
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{machine} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(process: int) -> str:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _remove(path: AnyPath) -> None:
    with explained(path), suppress(FileNotFoundError):
        path.unlink()
