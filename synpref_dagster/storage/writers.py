"""Who writes a store: one campaign under one set of settings, from one Dagster instance at a time.

Whoever begins puts a small file below `writers/` of the store, looks who else is there, and begins
only when it sees no other work; of two that begin at once at least one sees the other. This needs
plain puts, gets and lists, so an object store is guarded like a folder. Runs of the same work may
go on side by side: they find each other's finished steps.
"""

import getpass
import json
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

from synpref_dagster.storage.uris import (
    AnyPath,
    explained,
    file_sizes,
    join_uri,
    process_is_alive,
    read_bytes,
    to_path,
    write_bytes,
)

FOLDER = "writers"
BEAT_SECONDS = 20.0
DEAD_SECONDS = 180.0
"""A writer on another machine that gave no sign of life for so long is taken for dead."""
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
    """Unix time of the last sign of life."""
    holds: bool
    """Whether it has looked who else is there and found nobody."""

    def is_dead(self, now: float) -> bool:
        """Whether it surely is (on this machine), or long gave no sign of life (elsewhere)."""
        if (self.host, self.space) == (socket.gethostname(), _space()):
            return not process_is_alive(self.process) or self.born != _born(self.process)
        return now - self.beat > DEAD_SECONDS

    def told(self, mine: Work, *, root: str, file: str) -> str:
        """Why somebody else cannot begin."""
        same_settings = self.work.settings == mine.settings
        how = "from another Dagster instance" if same_settings else "under other settings"
        began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.since))
        return (
            f"the store {root} is being written by campaign {self.work.campaign} {how}: process "
            f"{self.process} of {self.user} on {self.host}, since {began}, last sign of life "
            f"{max(0, time.time() - self.beat):.0f} s ago. Wait until it ends, or write elsewhere "
            f"(SYNPREF_STORE, or another name of the profile); if it is dead, delete {file}"
        )


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
            if attempt + 1 == MAX_ATTEMPTS or any(each.holds for each in others.values()):
                file, other = max(others.items(), key=lambda each: each[1].holds)
                where = join_uri(self.root, FOLDER, file)
                raise StoreInUseError(other.told(self.work, root=self.root, file=where))
            # Whether it is seen by us or we by it is a matter of luck: the next time it is not.
            time.sleep(random.uniform(0, LONGEST_WAIT))

    def leave(self) -> None:
        """Take the file away."""
        self._ended.set()
        _remove(self.folder / self.name)

    def is_lost(self) -> bool:
        """Whether somebody took this process for dead, or deleted its file."""
        return read_bytes(self.folder / self.name) is None

    def _others(self) -> dict[str, Writer]:
        """Writers of other work that may be alive, by file; the files of dead ones are removed."""
        now, found = time.time(), {}
        for name in sorted(file_sizes(self.folder)):
            if name == self.name or not name.endswith(".json"):
                continue
            other = self._read(name)
            if other is None:
                continue
            if other.is_dead(now):
                _remove(self.folder / name)
            elif other.work != self.work:
                found[name] = other
        return found

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
