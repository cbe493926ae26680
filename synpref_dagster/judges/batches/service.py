"""Batch mode: the same requests answered elsewhere, their replies entering the same cache.

While a batch is under way nobody waits: the step ends, a sensor collects finished batches, and the
next run finds the replies in the cache. What a batch ended without goes into another one; what
keeps failing is asked one by one.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from synpref_dagster.judges.batches.files import (
    BATCH_URL,
    Collected,
    batch_files,
    collect_batch,
    write_batch,
)
from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.budget import Budget, Prices
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.calls import api_key, certainly_free, error_of, refused_client
from synpref_dagster.judges.errors import told
from synpref_dagster.judges.requests import (
    BatchPendingError,
    CallFailure,
    JudgeError,
    JudgeRequest,
    JudgeUnavailableError,
    failure_of,
)
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.settings.judges import JudgeEndpoint
from synpref_dagster.settings.secrets import redacted, whole, without_known

LOGGER = logging.getLogger(__name__)

MAX_TOLD = 5  # batches that a message names
T = TypeVar("T")
Task = TypeVar("Task")
ENDED = ("completed", "failed", "expired", "cancelled")
UNSENT = "unsent-"  # a batch that no service has a name for yet
NAME_FIELD = "synpref_batch"


class BatchService:
    """The batch service of one endpoint (OpenAI's files and batches)."""

    def __init__(
        self,
        endpoint: JudgeEndpoint,
        *,
        cache: ReplyCache,
        folder: Path,
        logger: logging.Logger = LOGGER,
    ) -> None:
        from openai import OpenAI

        self.endpoint = endpoint
        self.cache = cache
        self.ledger = BatchLedger(cache)
        self.folder = folder
        self.logger = logger
        folder.mkdir(parents=True, exist_ok=True)
        self._client = OpenAI(base_url=whole(endpoint.base_url), api_key=api_key(endpoint))

    def submit(
        self, requests: Sequence[JudgeRequest], *, payer: Payer, budget: Budget
    ) -> list[str]:
        """Send the missing requests as batches; returns their ids, none when nothing is missing.

        Raises:
            BudgetExhaustedError: the batches may cost more than is left.
            JudgeUnavailableError: the service did not take them.
            JudgeRefusedError: no money is left, or the key is refused.
        """
        missing = missing_requests(requests, cache=self.cache)
        prices = batch_prices(self.endpoint)
        most = sum(prices.most_usd(each, each.most_tokens) for each in missing)
        reservations = Reservations(self.cache)
        reserved = reservations.reserve(payer, most, fits=partial(budget.fits, payer.judge, most))
        if reserved is None:
            committed = reservations.committed(payer.campaign)
            raise budget.exhausted(payer, committed, num_missing=len(missing))
        try:
            sent = [self._send(part, payer, reserved) for part in batch_files(missing)]
            return [each for each in sent if each is not None]
        finally:
            # The ledger knows what is promised to the batches that were sent; the rest never was.
            reservations.release(reserved)

    def _send(self, requests: Sequence[JudgeRequest], payer: Payer, reserved: int) -> str | None:
        import openai

        times = len(self.ledger.cache.table("SELECT DISTINCT batch FROM batches"))
        name = f"{UNSENT}{payer.judge}-{requests[0].key[:16]}-{times}"
        path = self.folder / f"{name}.jsonl"
        prices = batch_prices(self.endpoint)
        num_carried = write_batch(
            path,
            requests,
            batch=name,
            cache=self.cache,
            payer=payer,
            prices=prices,
            reservation=reserved,
        )
        if not num_carried:
            return None  # somebody else began to ask all of it just now
        try:
            with path.open("rb") as file:
                uploaded = self._client.files.create(file=file, purpose="batch")
            # Not tried again by the library: after a time-out there may be a batch already.
            batch = self._client.with_options(max_retries=0).batches.create(
                input_file_id=uploaded.id,
                endpoint=BATCH_URL,
                completion_window="24h",
                metadata={NAME_FIELD: name},
            )
        except openai.OpenAIError as error:
            if certainly_free(error):
                self.ledger.close(name, rest="unsent")
            # Else it may be at work, and paid for: the next run asks for it by its name.
            raise _failed(self.endpoint, "did not take a batch", error) from error
        # From now on the batch goes by the service's name, which the sensor asks about.
        self.ledger.rename(name, batch.id)
        self.logger.info("batch %s of judge %s: %d requests", batch.id, payer.judge, num_carried)
        return batch.id

    def collect_finished(self) -> dict[str, Collected]:
        """Collect this judge's batches that ended, also what they got done before they failed.

        Raises:
            JudgeUnavailableError: the service does not answer.
            JudgeRefusedError: it refuses the key.
        """
        import openai

        pending = self.ledger.pending()
        names = pending.loc[pending["judge"] == self.endpoint.name, "batch"].unique()
        collected: dict[str, Collected] = {}
        try:
            for name in names:
                if (found := self._collect(str(name))) is not None:
                    collected[str(name)] = found
        except openai.OpenAIError as error:
            raise _failed(self.endpoint, "does not say how batches are", error) from error
        return collected

    def _collect(self, name: str) -> Collected | None:
        import openai

        if name.startswith(UNSENT):
            name = self._recovered(name)
        try:
            batch = None if name.startswith(UNSENT) else self._client.batches.retrieve(name)
        except openai.NotFoundError:
            batch = None
        if batch is None:
            self._forgotten(name)
            return None
        if batch.status not in ENDED:
            return None
        path = self.folder / f"{_file_name(name)}.out.jsonl"
        files = [each for each in (batch.output_file_id, batch.error_file_id) if each]
        lines = "\n".join(self._client.files.content(each).text for each in files)
        path.write_text(without_known(lines), encoding="utf-8", errors="surrogatepass")
        found = collect_batch(
            path,
            batch=name,
            cache=self.cache,
            prices=batch_prices(self.endpoint),
            num_worked=_num_worked(batch),
        )
        if (stopped_by := _stopped_by(batch)) is not None and found.num_unanswered:
            found = replace(found, stopped_by=found.stopped_by or stopped_by)
        all_is_well = found.num_replies and not found.num_unanswered
        log = self.logger.info if all_is_well else self.logger.warning
        log("batch %s is %s: %s", name, batch.status, asdict(found))
        return found

    def _forgotten(self, name: str) -> None:
        """Close a batch that its service does not know; one that it took may have cost something.

        It took those that go by a name of its own.
        """
        self.logger.warning("batch %s is unknown to its service; it is sent again", name)
        if name.startswith(UNSENT):
            self.ledger.close(name, rest="unsent")
        else:
            taken = list(self.ledger.pending(name)["key"])
            self.ledger.close(name, uncertain=taken, rest="unanswered")

    def _recovered(self, name: str) -> str:
        """The service's name of a batch whose sender was killed before it could note it."""
        for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(NAME_FIELD) == name:
                self.ledger.rename(name, batch.id)
                return batch.id
        return name


def all_sent(calls: Iterable[Callable[[], T]]) -> list[T]:
    """Runs all calls, so that all batches are sent, before reporting that some are pending.

    A panel's judges answer at the same time that way, and not one after the other.

    Raises:
        BatchPendingError: at least one call waits for a batch.
    """
    numbered = list(enumerate(calls))
    return [result for _, result in AllSent().run(lambda each: each[1](), numbered)]


class AllSent:
    """Runs tasks one after the other, here; all send their batches before the first one waits.

    A `ShardExecutor` for `map_shards`, so that shards answer at the same time.
    """

    def run(self, job: Callable[[Task], T], tasks: Sequence[Task]) -> Iterator[tuple[Task, T]]:
        """Each task with its result.

        Raises:
            BatchPendingError: at least one task waits for a batch.
        """
        waiting: list[str] = []
        for task in tasks:
            try:
                result = job(task)
            except BatchPendingError as error:
                waiting.append(str(error))
            else:
                yield task, result
        if waiting:
            more = f"; and {len(waiting) - MAX_TOLD:,} more" if len(waiting) > MAX_TOLD else ""
            raise BatchPendingError("; ".join(waiting[:MAX_TOLD]) + more)


def batch_service(
    endpoint: JudgeEndpoint, cache: ReplyCache, *, logger: logging.Logger = LOGGER
) -> BatchService:
    """The service of an endpoint, its files beside the cache."""
    folder = cache.path.with_suffix(".batches")
    return BatchService(endpoint, cache=cache, folder=folder, logger=logger)


def missing_requests(requests: Sequence[JudgeRequest], *, cache: ReplyCache) -> list[JudgeRequest]:
    """The distinct requests that neither the cache nor a batch under way answers."""
    wanted = {request.key: request for request in requests}
    known = set(cache.find(list(wanted))) | set(BatchLedger(cache).pending()["key"])
    return [request for key, request in wanted.items() if key not in known]


def batch_prices(endpoint: JudgeEndpoint) -> Prices:
    """Prices of a judge's batches."""
    share = endpoint.batch_price_share
    return Prices(
        usd_per_million_input=endpoint.usd_per_million_input * share,
        usd_per_million_output=endpoint.usd_per_million_output * share,
    )


def _num_worked(batch: Any) -> int | None:
    """Requests of a batch that its service worked on; None when it does not say.

    A batch that failed and has no file was refused as a whole.
    """
    counts = batch.request_counts
    numbers = [getattr(counts, name, None) for name in ("completed", "failed")]
    told_numbers = [number for number in numbers if isinstance(number, int) and number >= 0]
    if len(told_numbers) == len(numbers):
        return sum(told_numbers)
    has_files = batch.output_file_id or batch.error_file_id
    return 0 if batch.status == "failed" and not has_files else None


def _stopped_by(batch: Any) -> CallFailure | None:
    """What a service says about account or key where it refused a batch as a whole."""
    if batch.errors is None:
        return None
    failure = failure_of(told(batch.errors.model_dump()))
    return failure if failure.stops else None


def _file_name(name: str) -> str:
    """A service's name for a batch, as the name of a file."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:200]


def _failed(endpoint: JudgeEndpoint, what: str, error: Exception) -> JudgeError:
    import openai

    # A status of 404 is about a batch, a file, or a server without batches: not about the key.
    if isinstance(error, openai.APIStatusError) and error.status_code != 404:
        failure = failure_of(error_of(error))
        if failure.stops:
            return refused_client(endpoint, failure)
    return JudgeUnavailableError(
        f"the batch service of judge {endpoint.name!r} at {endpoint.base_url} {what}: "
        f"{redacted(str(error))}"
    )
