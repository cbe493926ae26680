"""How far work is, as data beside its log line; it knows nothing but the standard library.

Who works calls `tell`; who shows a bar reads `progress_of` and never the words of the line. Facts
are named tuples, so that loggers which write every record as JSON can write them as well.
"""

import logging
from typing import NamedTuple, TypeAlias

ATTRIBUTE = "synpref_progress"  # of a log record; Dagster hands it on to the loggers of a run


class ChunksDone(NamedTuple):
    """A step that can be resumed finished another chunk."""

    what: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.what}: {self.done}/{self.total} chunks"


class JudgeReplies(NamedTuple):
    """How many replies of a judge are there, at what pace and price."""

    judge: str
    done: int
    total: int
    per_second: float
    usd: float
    seconds_left: float | None
    """None: there is no reply yet to go by."""

    @property
    def pace(self) -> str:
        """Rate, cost and time left, in words."""
        left = "unknown time" if self.seconds_left is None else f"{self.seconds_left:.0f} s"
        return f"{self.per_second:.1f}/s, ${self.usd:.4f} spent, {left} left"

    def __str__(self) -> str:
        return f"judge {self.judge}: {self.done:,} of {self.total:,} replies, {self.pace}"


class ResponsesRead(NamedTuple):
    """How many responses a frozen backbone has read, and at what pace."""

    done: int
    total: int
    per_second: float

    @classmethod
    def at(cls, done: int, total: int, *, seconds: float) -> "ResponsesRead":
        """So many of so many after so many seconds."""
        return cls(done, total, done / max(seconds, 1e-9))

    @property
    def seconds_left(self) -> float:
        """At this pace."""
        return (self.total - self.done) / max(self.per_second, 1e-9)

    @property
    def pace(self) -> str:
        """Rate and time left, in words."""
        return f"{self.per_second:.1f}/s, {self.seconds_left:.0f} s left"

    def __str__(self) -> str:
        return f"backbone: {self.done:,} of {self.total:,} responses read, {self.pace}"


class BeforePeople(NamedTuple):
    """A step put pairs before people and ends."""

    num_pairs: int

    def __str__(self) -> str:
        return f"{self.num_pairs:,} pairs are before people"


class FilesSkipped(NamedTuple):
    """Files beside the data that are none by their names, e.g. a licence."""

    num_files: int
    some: str
    """The names of the first ones."""

    def __str__(self) -> str:
        files = "1 file is" if self.num_files == 1 else f"{self.num_files:,} files are"
        more = ", ..." if self.some.count(", ") + 1 < self.num_files else ""
        return f"{files} no data by name and not read: {self.some}{more}"


class TrackerAway(NamedTuple):
    """What a step logs is kept, because the tracker of experiments does not answer."""

    why: str
    kept_in: str

    def __str__(self) -> str:
        return f"{self.why}: the run goes on, and what it logs is kept in {self.kept_in}"


ProgressFact: TypeAlias = (
    ChunksDone | JudgeReplies | ResponsesRead | BeforePeople | FilesSkipped | TrackerAway
)


def tell(logger: logging.Logger, fact: ProgressFact, *, level: int = logging.INFO) -> None:
    """Log a fact in words, with the fact itself beside them."""
    logger.log(level, "%s", fact, extra={ATTRIBUTE: fact})


def progress_of(record: logging.LogRecord) -> ProgressFact | None:
    """The fact that a log record carries, if any."""
    told = getattr(record, ATTRIBUTE, None)
    return told if isinstance(told, ProgressFact) else None
