"""Candidates scored under one model, wherever the settings say, with rate and time left said."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from synpref_dagster.pairs.progress import ProgressFact, ResponsesRead, heard_by
from synpref_dagster.pairs.texts import first_line
from synpref_dagster.reward.shards import score_candidates
from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.storage import DatasetRef, InProcessExecutor, ModelRef, ShardExecutor

CHUNK = 512
"""Responses between two points at which a killed run goes on; even, so that pairs stay whole."""
Listener = Callable[[ResponsesRead], None]


def scored(
    candidates: DatasetRef,
    model: ModelRef,
    *,
    uri: Path,
    shards: ShardSettings,
    listener: Listener | None = None,
) -> tuple[DatasetRef, int]:
    """Rewards of candidates (conversation as JSON, response), and how many were not there already.

    Args:
        candidates: at most `CHUNK` to a shard.
        model: from `named_model`.
        uri: where finished chunks are kept.
        shards: who works on them.
        listener: called with how many responses are scored, and at what rate.

    Returns:
        reward, num_tokens and truncated, rows as those of the candidates; and the number of
        responses scored by this call.

    Raises:
        ValueError: the model cannot be loaded, gives no finite reward, or its chat template cannot
            write a conversation.
    """
    from jinja2 import TemplateError

    pace = _Pace(candidates.num_rows, listener or (lambda _: None))
    try:
        with opened(shards, uri) as executor, _cores(shards), heard_by(pace.heard):
            found = score_candidates(
                candidates, model, uri=str(uri), executor=executor, on_chunk=pace.on_chunk
            )
    except TemplateError as error:
        raise ValueError(
            f"the chat template of {model.uri} cannot write a conversation: {first_line(error)}"
        ) from error
    return found.ref, pace.num_new if found.num_shards_computed else 0


class _Pace:
    """Makes one count of what a map says of its chunks and a model of the responses in one."""

    def __init__(self, total: int, listener: Listener) -> None:
        self._total, self._listener = total, listener
        self._started = time.monotonic()
        self._found: int | None = None
        """Responses that an earlier run had scored; known when the first chunk is done."""
        self._done = 0

    def on_chunk(self, done: int, total: int) -> None:
        if self._found is None:
            self._found = self._rows(done - 1, total)
        self._done = self._rows(done, total)
        self._tell(self._done)

    @property
    def num_new(self) -> int:
        """Responses scored since it began."""
        return self._done - (self._found or 0)

    def heard(self, fact: ProgressFact) -> None:
        if isinstance(fact, ResponsesRead):
            self._tell(min(self._done + fact.done, self._total))

    def _rows(self, done: int, total: int) -> int:
        return self._total if done == total else min(done * CHUNK, self._total)

    def _tell(self, done: int) -> None:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (done - (self._found or 0)) / seconds
        self._listener(ResponsesRead(done, self._total, rate))


@contextmanager
def opened(shards: ShardSettings, uri: Path) -> Iterator[ShardExecutor]:
    """Who works on shards, as the settings say; what they need is kept below `uri`."""
    if shards.executor == "in_process":  # without a word of Dagster, which takes seconds to load
        yield InProcessExecutor()
        return
    from synpref_dagster.resources.executors import opened_executor

    uri.mkdir(parents=True, exist_ok=True)
    with opened_executor(shards, store=str(uri.resolve())) as executor:
        yield executor


def _cores(shards: ShardSettings) -> AbstractContextManager[None]:
    """Every core for one model in this process; workers share them among themselves."""
    if shards.executor != "in_process":
        return nullcontext()
    from synpref_dagster.reward.devices import best_device, on_all_cores

    return on_all_cores(best_device())
