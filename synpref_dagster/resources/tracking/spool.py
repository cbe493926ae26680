"""What waits for MLflow: one small file a record in the campaign's store, in the order of logging.

A file appears whole and goes when MLflow has it. A kill between the two sends its record again,
which MLflow takes once: figures have their time, and versions the key of their record.
"""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from synpref_dagster.pairs.record import digest
from synpref_dagster.storage.uris import file_sizes, join_uri, read_bytes, to_path, write_bytes

AWAY = "away"  # no record: until when nobody asks
REFUSED = "refused"  # folder of what MLflow understood and would not take
SHARE_OF_TIME = 20
"""How many times the seconds that were waited in vain pass before MLflow is asked again."""
LONGEST_SECONDS = 300.0
Record = Mapping[str, Any]


class Away(NamedTuple):
    """That MLflow did not answer: why, since when, and when it may be asked again."""

    why: str
    since: float
    until: float
    told: Sequence[str] = ()
    """Dagster runs whose people know."""


class Spool:
    """The files of one campaign; several processes and machines may add to them."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._is_behind = False  # whether our numbers are known to follow those that waited before

    def add(self, record: Record) -> None:
        """Keep a record behind those that wait already, whatever clock they were kept by."""
        data = as_bytes(record)
        if not self._is_behind:
            self._is_behind = True
            _follow(max((int(each.partition("-")[0]) for each in self.names()), default=0))
        name = f"{_next_time():020d}-{key_of(record)}.json"
        write_bytes(to_path(join_uri(self.uri, name)), data)

    def names(self) -> list[str]:
        """What waits, in order."""
        found = file_sizes(to_path(self.uri))
        return sorted(name for name in found if name.partition("-")[0].isdecimal())

    def read(self, name: str) -> Record | None:
        """A record, or None where somebody else has sent it meanwhile.

        Raises:
            ValueError: the file is damaged.
        """
        data = read_bytes(to_path(join_uri(self.uri, name)))
        return None if data is None else json.loads(data)

    def remove(self, name: str) -> None:
        """Forget a record that MLflow has."""
        to_path(join_uri(self.uri, name)).unlink(missing_ok=True)

    def refuse(self, name: str, why: str) -> None:
        """Put a record aside that MLflow will never take, with the reason."""
        data = read_bytes(to_path(join_uri(self.uri, name))) or b""
        aside = {"why": why, "record": data.decode(errors="replace")}
        write_bytes(to_path(join_uri(self.uri, REFUSED, name)), as_bytes(aside))
        self.remove(name)

    def num_refused(self) -> int:
        """How many records were put aside."""
        return len(file_sizes(to_path(join_uri(self.uri, REFUSED))))

    def away(self) -> Away | None:
        """Whether MLflow did not answer when it was asked last, whoever asked."""
        try:
            return Away(**json.loads(read_bytes(self._away_file) or b"null"))
        except (ValueError, TypeError):  # nothing was noted
            return None

    def note_away(self, why: str, *, seconds: float) -> None:
        """Note that MLflow did not answer.

        Args:
            why: what people are told.
            seconds: that were waited: the longer, the later it is asked again.
        """
        before, now = self.away(), time.time()
        wait = min(max(1.0, seconds * SHARE_OF_TIME), LONGEST_SECONDS)
        since, told = (before.since, before.told) if before else (now, ())
        self._write(Away(why, since, now + wait, told))

    def is_news(self, run: str) -> bool:
        """Whether a run's people are yet to hear that MLflow is away; then they are about to."""
        away = self.away()
        if away is None or run in away.told:
            return False
        self._write(away._replace(told=[*away.told, run]))
        return True

    def note_answered(self) -> None:
        """Note that MLflow answers."""
        self._away_file.unlink(missing_ok=True)

    def _write(self, away: Away) -> None:
        write_bytes(self._away_file, as_bytes(away._asdict()))

    @property
    def _away_file(self) -> Any:
        return to_path(join_uri(self.uri, AWAY))


def is_too_soon(away: Away | None) -> bool:
    """Whether MLflow was asked in vain a moment ago; a clock that was set back ends no wait."""
    return away is not None and 0 < away.until - time.time() <= LONGEST_SECONDS


def as_bytes(record: Record) -> bytes:
    """A record as its file holds it."""
    return json.dumps(record, sort_keys=True).encode()


def key_of(record: Record) -> str:
    """What a record is known by: a hash of all that it says, its time included."""
    return digest(as_bytes(record).decode()).hex()[:16]


_lock, _last = threading.Lock(), [0]


def _follow(number: int) -> None:
    """Let the numbers of this process begin behind one that is there."""
    with _lock:
        _last[0] = max(_last[0], number)


def _next_time() -> int:
    """Nanoseconds since 1970, never the same twice in a process, never going back."""
    with _lock:
        _last[0] = max(_last[0] + 1, time.time_ns())
        return _last[0]
