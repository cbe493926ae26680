"""Asks one judge many questions: cache first, then a pilot, then the rest, under the budget.

Every reply is in the cache before the next question of the same worker is sent. What stops a judge
(budget, wrong key, an endpoint that is down) stops after the calls in flight, so that all that was
paid for is kept.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait as wait_for
from logging import INFO, WARNING, Logger, getLogger
from typing import NoReturn

from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.batches.service import BatchService, batch_service
from synpref_dagster.judges.budget import Budget, Prices, estimate_usd
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.calls import EndpointCaller, RetryPolicy, refused_client
from synpref_dagster.judges.purse import Purse
from synpref_dagster.judges.receipts import Receipts
from synpref_dagster.judges.requests import (
    AskTally,
    BatchPendingError,
    CallFailure,
    CallResult,
    JudgeError,
    JudgeReply,
    JudgeRequest,
    JudgeUnavailableError,
)
from synpref_dagster.pairs.progress import (
    SECONDS_BETWEEN_LATER_LINES,
    SECONDS_BETWEEN_LINES,
    JudgeReplies,
    tell,
)
from synpref_dagster.settings.judges import JudgeEndpoint

LOGGER = getLogger(__name__)
NUM_PILOT = 16
MAX_FAILURES_IN_A_ROW = 25


class JudgeClient:
    """One judge's endpoint behind the shared cache and budget."""

    def __init__(  # noqa: PLR0913 - who is asked, whose money and books, and how
        self,
        endpoint: JudgeEndpoint,
        *,
        cache: ReplyCache,
        budget: Budget,
        payer: Payer,
        policy: RetryPolicy | None = None,
        receipts: Receipts | None = None,
        logger: Logger = LOGGER,
    ) -> None:
        self.endpoint = endpoint
        self.cache = cache
        self.budget = budget
        self.payer = payer
        self.policy = policy or RetryPolicy()
        self.receipts = receipts
        self.logger = logger
        self.tally = AskTally()

    def ask(self, requests: Sequence[JudgeRequest]) -> list[CallResult]:
        """The answer to every request, in order; equal requests are asked once.

        Raises:
            JudgeError: the judge cannot be asked any further; what was answered is cached.
            ValueError: the key of the endpoint is not set.
        """
        wanted = {request.key: request for request in requests}
        answers: dict[str, CallResult] = dict(self.cache.find(list(wanted), tally=self.tally))
        self.tally.num_asked += len(requests)
        self.tally.num_cached += sum(request.key in answers for request in requests)
        missing = [request for key, request in wanted.items() if key not in answers]
        try:
            answers |= self._answered(missing)
        finally:
            if missing:
                self.keep_receipts(at_once=True)
        return [answers[request.key] for request in requests]

    def keep_receipts(self, *, at_once: bool = False) -> None:
        """Write down what was paid, apart from the cache."""
        if self.receipts is not None:
            self.receipts.keep(at_once=at_once)

    def _answered(self, missing: Sequence[JudgeRequest]) -> dict[str, CallResult]:
        answers: dict[str, CallResult] = {}
        if self.endpoint.batch:
            answers |= self._from_batches(missing)
        elif self._held(missing):
            answers |= self._collected(missing)
        missing = [each for each in missing if each.key not in answers]
        held = self._held(missing)
        missing = [each for each in missing if each.key not in held]
        if missing:
            answers |= _run(_Asking(self, missing))
        if held:
            raise self._waits_for(held)
        return answers

    def _held(self, missing: Sequence[JudgeRequest]) -> set[str]:
        """The questions that a batch under way asks already, whoever sent it."""
        return BatchLedger(self.cache).held([request.key for request in missing])

    def _collected(self, missing: Sequence[JudgeRequest]) -> dict[str, CallResult]:
        """Replies of batches that ended, where this judge was once asked in batches."""
        batch_service(self.endpoint, self.cache, logger=self.logger).collect_finished()
        return dict(self.cache.find([request.key for request in missing]))

    def _waits_for(self, held: Collection[str]) -> BatchPendingError:
        pending = BatchLedger(self.cache).pending()
        senders = sorted(set(pending.loc[pending["key"].isin(set(held)), "campaign"]))
        return BatchPendingError(
            f"{len(held):,} replies of judge {self.payer.judge!r} for {self.payer.asset} are made "
            f"in a batch under way of campaign {', '.join(senders)}, so that nobody asks for them "
            "alone: run again later, or give the batch up with `synpref judges forgive --batches`"
        )

    def _from_batches(self, missing: Sequence[JudgeRequest]) -> dict[str, CallResult]:
        """Replies of batches that ended by now; what batches gave up on is left to single calls.

        Raises:
            BatchPendingError: batches are under way; the sensor starts the campaign again.
            JudgeRefusedError: a batch that ended says that no money is left, or no access.
        """
        if not missing:
            BatchLedger(self.cache).mark_used(self.payer)
            return {}
        service = batch_service(self.endpoint, self.cache, logger=self.logger)
        collected = service.collect_finished().values()
        found: dict[str, CallResult] = dict(self.cache.find([request.key for request in missing]))
        left = [request.key for request in missing if request.key not in found]
        given_up = service.ledger.given_up(left, max_batches=self.endpoint.max_batches)
        alone = given_up - service.ledger.held(left)
        self.tally.num_left_by_batches += len(alone)
        if batched := [each for each in missing if each.key in set(left) - alone]:
            for stopped_by in (each.stopped_by for each in collected if each.stopped_by):
                raise refused_client(self.endpoint, stopped_by)
            self._send_batch(service, batched)
        service.ledger.mark_used(self.payer)
        return found

    def _send_batch(self, service: BatchService, missing: Sequence[JudgeRequest]) -> NoReturn:
        """Submit what no batch under way covers, and end the step.

        Raises:
            BatchPendingError: always.
        """
        sent = service.submit(missing, payer=self.payer, budget=self.budget)
        raise BatchPendingError(
            f"{len(missing):,} replies of judge {self.payer.judge!r} for {self.payer.asset} are "
            f"made in {'batch ' + ', '.join(sent) if sent else 'a batch under way'}; the sensor "
            "judge_batches collects them and continues, or run again later"
        )


class _Asking:
    """One round of calls: the workers, what they share, and why they stop."""

    def __init__(self, client: JudgeClient, missing: Sequence[JudgeRequest]) -> None:
        self.client = client
        self.missing = missing
        self.answers: dict[str, CallResult] = {}
        self.stopped: JudgeError | None = None
        self._failures_in_a_row = 0
        self._started = self._last_line = time.monotonic()
        self._said_anything = False
        endpoint = client.endpoint
        prices = Prices(
            usd_per_million_input=endpoint.usd_per_million_input,
            usd_per_million_output=endpoint.usd_per_million_output,
        )
        self._purse = Purse(
            prices=prices,
            cache=client.cache,
            budget=client.budget,
            payer=client.payer,
            stopped=lambda: self.stopped,
            num_missing=lambda: len(self.missing) - len(self.answers),
        )

    async def run(self) -> dict[str, CallResult]:
        """Pilot, estimate, the rest."""
        client, endpoint = self.client, self.client.endpoint
        caller = EndpointCaller(
            endpoint,
            form=client.cache.form(endpoint.base_url, endpoint.model),
            on_form=lambda form, reason: client.cache.set_form(
                endpoint.base_url, endpoint.model, form=form, reason=reason
            ),
            policy=client.policy,
            purse=self._purse,
            logger=client.logger,
        )
        try:
            await self._ask(caller, self.missing[:NUM_PILOT])
            self._estimate()
            await self._ask(caller, self.missing[NUM_PILOT:])
        finally:
            client.tally.num_retries += caller.num_retries
            self._count()
            await caller.close()
        return self.answers

    async def _ask(self, caller: EndpointCaller, requests: Sequence[JudgeRequest]) -> None:
        waiting = iter(requests)
        num_workers = min(len(requests), self.client.endpoint.max_concurrency)
        await asyncio.gather(*(self._work(caller, waiting) for _ in range(num_workers)))
        if self.stopped is not None:
            raise self.stopped

    async def _work(self, caller: EndpointCaller, waiting: Iterator[JudgeRequest]) -> None:
        for request in waiting:
            try:
                async with caller.limit.slot():
                    if self.stopped is None:
                        await self._one(caller, request)
            except JudgeError as error:
                self.stopped = self.stopped or error
            if self.stopped is not None:
                return

    async def _one(self, caller: EndpointCaller, request: JudgeRequest) -> None:
        answer = await caller.call(request)
        self.answers[request.key] = answer
        self._watch(answer)

    def _watch(self, answer: CallResult) -> None:
        if isinstance(answer, JudgeReply):
            self._failures_in_a_row = 0
        else:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                raise JudgeUnavailableError(
                    f"judge {self.client.payer.judge!r} at {self.client.endpoint.base_url} failed "
                    f"{self._failures_in_a_row} times in a row, last: {answer.failure} "
                    f"{answer.detail}".strip()
                )

    def say(self, *, ended: bool = False) -> None:
        """A progress fact if enough time has passed; a final one only if others came before."""
        now = time.monotonic()
        late = now - self._started >= 60
        pause = SECONDS_BETWEEN_LATER_LINES if late else SECONDS_BETWEEN_LINES
        if (ended and self._said_anything) or now - self._last_line >= pause:
            self._last_line, self._said_anything = now, True
            tell(self.client.logger, self._so_far(now))

    def _so_far(self, now: float) -> JudgeReplies:
        done, total = len(self.answers), len(self.missing)
        rate = done / max(now - self._started, 1e-9)
        return JudgeReplies(
            judge=self.client.payer.judge,
            done=done,
            total=total,
            per_second=rate,
            usd=self._purse.usd,
            seconds_left=(total - done) / rate if rate > 0 else None,
        )

    def _estimate(self) -> None:
        pilot = [answer for answer in self.answers.values() if isinstance(answer, JudgeReply)]
        if not pilot:
            return
        usd = estimate_usd(pilot, len(self.missing))
        tally = self.client.tally
        tally.estimated_usd = (tally.estimated_usd or 0.0) + usd
        judge = self.client.payer.judge
        left = self._purse.left() + self._purse.usd
        self.client.logger.log(
            WARNING if usd > left else INFO,
            "judge %s: %s replies are missing, about $%.4f by a pilot of %d; $%.4f may be spent",
            judge,
            f"{len(self.missing):,}",
            usd,
            len(pilot),
            left,
        )

    def _count(self) -> None:
        tally = self.client.tally
        tally.usd += self._purse.usd
        tally.possible_usd += self._purse.possible_usd
        tally.num_calls += sum(isinstance(each, JudgeReply) for each in self.answers.values())
        failures = Counter(tally.failures)
        failures.update(
            each.failure for each in self.answers.values() if isinstance(each, CallFailure)
        )
        tally.failures = dict(failures)


def _run(asking: _Asking) -> dict[str, CallResult]:
    """Run in a thread of its own: the caller may have an event loop already."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge") as pool:
        work = pool.submit(lambda: asyncio.run(asking.run()))
        try:
            return _watched(work, asking)
        except KeyboardInterrupt:
            asking.stopped = JudgeUnavailableError("interrupted; replies so far are kept")
            raise


def _watched(work: Future[dict[str, CallResult]], asking: _Asking) -> dict[str, CallResult]:
    """The result of the work; progress is told from the thread of the step, not of the calls."""
    try:
        while wait_for([work], timeout=SECONDS_BETWEEN_LINES / 2).not_done:
            asking.say()
            asking.client.keep_receipts()
        return work.result()
    finally:
        asking.say(ended=True)
