"""Pays for the attempts of one judge in one asset: reserve, send, then book, give back or keep.

Each attempt reserves the most it can cost before it is sent. A reply books its true price instead;
an endpoint that certainly did no work gives the money back; anything else keeps it reserved, for it
may be on the endpoint's bill.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial

from synpref_dagster.judges.budget import Budget, Prices
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.requests import JudgeError, JudgeReply, JudgeRequest
from synpref_dagster.judges.reservations import Reservations

BUDGET_POLL_SECONDS = 0.01


@dataclass(kw_only=True, slots=True)
class Attempt:
    """One attempt that is paid for."""

    request: JudgeRequest
    most_usd: float
    reservation: int
    is_free: bool = False
    """The endpoint certainly charged nothing: it was not reached, or it refused."""
    is_booked: bool = False


@dataclass(kw_only=True)
class Purse:
    """The money of one judge in one asset, under the caps of a budget."""

    prices: Prices
    cache: ReplyCache
    budget: Budget
    payer: Payer
    stopped: Callable[[], JudgeError | None] = lambda: None
    """Why nothing more is sent, asked while there is no room."""
    num_missing: Callable[[], int] = lambda: 1
    """Replies that are still to come."""
    usd: float = 0.0
    """Booked by this purse."""
    possible_usd: float = 0.0
    """The most that its attempts without an answer may have cost."""

    @cached_property
    def reservations(self) -> Reservations:
        """What is set aside, beside the replies."""
        return Reservations(self.cache)

    @asynccontextmanager
    async def attempt(self, request: JudgeRequest) -> AsyncIterator[Attempt]:
        """Reserve for an attempt, which must be sent inside of the block.

        Raises:
            BudgetExhaustedError: it does not fit, and nothing in flight will make room.
            BatchPendingError: a batch under way asks the same.
            JudgeError: the judge was stopped while this attempt waited for room.
        """
        most = self.prices.most_usd(request, request.most_tokens)
        reservation = await self._reserved(most, request.key)
        attempt = Attempt(request=request, most_usd=most, reservation=reservation)
        self.budget.num_in_flight += 1
        try:
            yield attempt
        finally:
            self.budget.num_in_flight -= 1
            if attempt.is_free:
                self.reservations.release(reservation)
            elif not attempt.is_booked:
                self.reservations.end(reservation)
                self.possible_usd += most

    def book(self, attempt: Attempt, reply: JudgeReply) -> JudgeReply:
        """Keep the reply with its price, in one transaction with the end of its reservation."""
        usd = self.prices.charged_usd(reply, most_usd=attempt.most_usd)
        reply = replace(reply, usd=usd)
        self.cache.add(attempt.request, reply, self.payer, reservation=attempt.reservation)
        attempt.is_booked = True
        self.usd += usd
        return reply

    def left(self) -> float:
        """US dollars that this judge may still cost; infinite without caps."""
        return self.budget.left(self.payer.judge, committed=self._committed())

    async def _reserved(self, usd: float, key: str) -> int:
        fits = partial(self.budget.fits, self.payer.judge, usd)
        while (found := self.reservations.reserve(self.payer, usd, fits=fits, key=key)) is None:
            if (error := self.stopped()) is not None:
                raise error
            if self.budget.num_in_flight == 0:
                raise self.budget.exhausted(
                    self.payer, self._committed(), num_missing=self.num_missing()
                )
            # Calls in flight reserved more than they will cost: let them come back first.
            await asyncio.sleep(BUDGET_POLL_SECONDS)
        return found

    def _committed(self) -> dict[str, float]:
        return self.reservations.committed(self.payer.campaign)
