"""How far work is, as data beside its log line; it knows nothing but the standard library.

Who works calls `tell`; who shows a bar reads `progress_of` and never the words of the line. Facts
are named tuples, so that loggers which write every record as JSON can write them as well. Who works
deep in a map has no logger of the step: it says a fact, and the step that began the work hears it
(`heard_by`); in a process that a step sent work to, nobody does.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeAlias

ATTRIBUTE = "synpref_progress"  # of a log record; Dagster hands it on to the loggers of a run
SECONDS_BETWEEN_LINES = 2.0  # in the first minute; a long job gets a line in ten seconds
SECONDS_BETWEEN_LATER_LINES = 10.0


class ChunksDone(NamedTuple):
    """A step that can be resumed finished another chunk."""

    what: str
    done: int
    total: int
    seconds_left: float | None = None
    """None: nobody measured."""

    @property
    def pace(self) -> str:
        """Time left, in words; empty if nobody measured."""
        return "" if self.seconds_left is None else f"{self.seconds_left:.0f} s left"

    def __str__(self) -> str:
        left = f", {self.pace}" if self.pace else ""
        return f"{self.what}: {self.done}/{self.total} chunks{left}"


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
    """How many responses a backbone has read, frozen or as a reward model, and at what pace."""

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


class StepsTaken(NamedTuple):
    """How many optimizer steps a training has taken, and at what pace."""

    model: str
    done: int
    total: int
    seconds_a_step: float
    """Of those that this process took; a training may be one that goes on."""

    @property
    def is_short(self) -> bool:
        """Whether the whole training takes less than ten seconds: not worth a line in a log."""
        return self.total * self.seconds_a_step < SECONDS_BETWEEN_LATER_LINES

    @property
    def pace(self) -> str:
        """Rate and time left, in words."""
        left = (self.total - self.done) * self.seconds_a_step
        return f"{self.seconds_a_step:.2f} s a step, {left:.0f} s left"

    def __str__(self) -> str:
        return f"training {self.model}: {self.done:,} of {self.total:,} steps, {self.pace}"


class TimeExpected(NamedTuple):
    """How long trainings will take, before the first one begins."""

    num_trainings: int
    num_pairs: int
    """Of all of them together."""
    minutes: float

    def __str__(self) -> str:
        many = "1 training" if self.num_trainings == 1 else f"{self.num_trainings} trainings"
        each = 60 * self.minutes / max(self.num_pairs, 1)
        return (
            f"{many} on {self.num_pairs:,} pairs: about {self.minutes:.0f} minutes on this "
            f"machine ({each:.2f} s a pair, measured on the first ones)"
        )


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
    ChunksDone
    | JudgeReplies
    | ResponsesRead
    | StepsTaken
    | TimeExpected
    | BeforePeople
    | FilesSkipped
    | TrackerAway
)


def tell(logger: logging.Logger, fact: ProgressFact, *, level: int = logging.INFO) -> None:
    """Log a fact in words, with the fact itself beside them."""
    logger.log(level, "%s", fact, extra={ATTRIBUTE: fact})


Listener: TypeAlias = Callable[[ProgressFact], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """While it is open, what work of this thread says of itself goes to the listener."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def say(fact: ProgressFact) -> None:
    """Tell a fact to whoever listens."""
    listener = _listener.get()
    if listener is not None:
        listener(fact)


def steps_heard(
    model: str, listener: Callable[[StepsTaken], None]
) -> Callable[[int, Mapping[str, float]], None]:
    """What a training calls after each step, so that a listener hears how far it is.

    Args:
        model: what the training is called.
        listener: hears every step; the pace is that of the steps since this call.
    """
    began = time.monotonic()
    first: int | None = None

    def on_step(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal first
        first = step if first is None else first
        pace = (time.monotonic() - began) / (step - first + 1)
        listener(StepsTaken(model, step, int(metrics["num_steps"]), pace))

    return on_step


class ReadingPace:
    """Says how far a reading of responses is: every few seconds, and at its end if it ever did."""

    def __init__(self, total: int, *, listener: Callable[[ResponsesRead], None] = say) -> None:
        self._total, self._listener = total, listener
        self._started = self._said = time.monotonic()

    def at(self, done: int) -> None:
        """So many are read."""
        now = time.monotonic()
        is_late = now - self._started >= 60
        pause = SECONDS_BETWEEN_LATER_LINES if is_late else SECONDS_BETWEEN_LINES
        ends = done >= self._total and self._said > self._started
        if ends or now - self._said >= pause:
            self._said = now
            self._listener(ResponsesRead.at(done, self._total, seconds=now - self._started))

    def within(self, start: int, stop: int, share: float) -> None:
        """Of responses `start` to `stop` this share of the work is done."""
        self.at(start + int(share * (stop - start)))


class ChunkPace:
    """Says after each chunk how many of a map are done, and how long the rest will take.

    What a killed run left done counts as done and not as quick.
    """

    def __init__(self, what: str, *, listener: Callable[[ChunksDone], None] = say) -> None:
        self._what, self._listener = what, listener
        self._started, self._worked = time.monotonic(), 0

    def __call__(self, done: int, total: int) -> None:
        """One more chunk is done, `done` of `total` in all."""
        self._worked += 1
        each = (time.monotonic() - self._started) / self._worked
        left = (total - done) * each
        self._listener(ChunksDone(self._what, done, total, seconds_left=left))


def progress_of(record: logging.LogRecord) -> ProgressFact | None:
    """The fact that a log record carries, if any."""
    told = getattr(record, ATTRIBUTE, None)
    return told if isinstance(told, ProgressFact) else None
