"""What is on its way to MLflow: brought at once, or kept in order until MLflow answers.

A step never fails and hardly waits because MLflow is away. Once a record had to be kept, the rest
of its step is kept behind it; the next step, the end of a run or `synpref tracking replay` brings
all of it, oldest first.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from synpref_dagster.pairs.progress import TrackerAway
from synpref_dagster.resources.tracking.away import AwayError, answered
from synpref_dagster.resources.tracking.delivery import Delivery
from synpref_dagster.resources.tracking.spool import Record, Spool, is_too_soon

logger = logging.getLogger(__name__)


class Outbox:
    """The records of one step, and those that waited before it."""

    def __init__(
        self,
        spool: Spool,
        connect: Callable[[], Delivery],
        *,
        run: str = "",
        tell: Callable[[TrackerAway], None] = lambda _: None,
    ) -> None:
        self._spool = spool
        self._connect = connect
        self._run = run
        self._tell = tell
        self.delivery: Delivery | None = None
        """None: what is sent now has to wait."""

    def open(self) -> None:
        """Ask for MLflow, and bring what waits; nothing happens soon after it was away.

        Raises:
            ValueError: MLflow is there, but its database or the experiment cannot be used.
        """
        if is_too_soon(self._spool.away()):
            self._say()
            return
        with self._noting_away():
            self.replay()

    def send(self, record: Record) -> Any:
        """Bring a record; returns what came of it, None when it has to wait."""
        if self.delivery is not None:
            with self._noting_away():
                return self.delivery.deliver(record)
        self._spool.add(record)
        return None

    def ask(self, use: Callable[[Delivery], object]) -> None:
        """Do something with MLflow that is not worth keeping, unless it is away."""
        if self.delivery is not None:
            with self._noting_away(), answered(self.delivery.tracking_uri):
                use(self.delivery)

    def close(self) -> None:
        """Bring what this step had to keep, if MLflow answers by now; never fails."""
        try:
            self.open()
        except ValueError as error:  # the step's work is done: nothing may undo it
            logger.warning("what waits for MLflow was not sent: %s", error)

    def replay(self) -> int:
        """Bring all that waits, in order; returns how many records MLflow took.

        Raises:
            AwayError: MLflow does not answer; what it has not taken waits on.
        """
        from mlflow.exceptions import MlflowException

        num_sent = 0
        delivery = self._connect()
        for name in self._spool.names():
            try:
                record = self._spool.read(name)
                if record is not None:
                    delivery.deliver(record)
                    num_sent += 1
            except (MlflowException, ValueError, KeyError, TypeError) as error:
                self._connect()  # where the whole experiment was deleted, everything waits on
                self._spool.refuse(name, str(error))
                logger.warning("MLflow would not take %s, put aside: %s", name, error)
            self._spool.remove(name)
        if self._spool.away():
            self._spool.note_answered()
        self.delivery = delivery
        return num_sent

    @contextmanager
    def _noting_away(self) -> Iterator[None]:
        """Ends the way to MLflow when it does not answer."""
        started = time.monotonic()
        try:
            yield
        except AwayError as error:
            self.delivery = None
            seconds = time.monotonic() - started
            self._spool.note_away(str(error), seconds=seconds)
            self._say()

    def _say(self) -> None:
        """Says once a run that MLflow is away."""
        away = self._spool.away()
        if away is not None and self._spool.is_news(self._run):
            self._tell(TrackerAway(away.why, self._spool.uri))
