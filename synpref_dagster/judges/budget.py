"""What judging costs: prices, the estimate before most of it is sent, and the cap that holds.

A request is only sent when the most it can cost still fits under the caps of campaign and judge,
beside what is in flight; the cap is therefore never passed by this process. What was bought before
the cap is in the cache, and a higher cap continues from there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from synpref_dagster.judges.requests import JudgeError, JudgeReply, JudgeRequest

MILLION = 1_000_000
TOKENS_PER_MESSAGE = 16  # what chat templates put around a message, generously


class BudgetExhaustedError(JudgeError):
    """The money that people allowed is spent; only they can allow more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """US dollars per million tokens."""

    usd_per_million_input: float = 0.0
    usd_per_million_output: float = 0.0

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Price of one call."""
        return (
            prompt_tokens * self.usd_per_million_input
            + completion_tokens * self.usd_per_million_output
        ) / MILLION

    def most_usd(self, request: JudgeRequest, max_tokens: int) -> float:
        """The most that a request can cost: a token has at least one byte."""
        prompt_tokens = request.num_bytes + TOKENS_PER_MESSAGE * len(request.messages)
        return self.usd(prompt_tokens, max_tokens)


@dataclass(kw_only=True)
class Budget:
    """The caps of one campaign, and what is spent and reserved under them."""

    max_usd: float | None = None
    """Cap of the campaign; None allows anything."""
    max_usd_by_judge: Mapping[str, float] = field(default_factory=dict)
    """Caps of single judges."""
    spent_by_judge: Callable[[], Mapping[str, float]] = dict
    """Reads what the campaign paid each judge so far, all processes together, and the most that
    batches under way may still cost."""
    num_in_flight: int = 0
    """Calls that hold a reservation."""
    _reserved: dict[str, float] = field(default_factory=dict)

    def reserve(self, judge: str, usd: float) -> bool:
        """Set money aside for a call; False when it does not fit at present."""
        spent = self.spent_by_judge()
        if sum(spent.values()) + self.reserved() + usd > self._cap():
            return False
        mine = spent.get(judge, 0.0) + self.reserved(judge)
        if mine + usd > self.max_usd_by_judge.get(judge, inf):
            return False
        self._reserved[judge] = self._reserved.get(judge, 0.0) + usd
        self.num_in_flight += 1
        return True

    def release(self, judge: str, usd: float) -> None:
        """The call is over and its price is booked: give back what was set aside."""
        self._reserved[judge] = max(0.0, self._reserved.get(judge, 0.0) - usd)
        self.num_in_flight -= 1

    def reserved(self, judge: str | None = None) -> float:
        """US dollars set aside for calls in flight, of one judge or of all."""
        if judge is not None:
            return self._reserved.get(judge, 0.0)
        return sum(self._reserved.values())

    def left(self, judge: str) -> float:
        """US dollars that this judge may still cost; infinite without caps."""
        spent = self.spent_by_judge()
        mine = self.max_usd_by_judge.get(judge, inf) - spent.get(judge, 0.0)
        return min(self._cap() - sum(spent.values()), mine)

    def exhausted(self, judge: str, *, num_missing: int, asset: str) -> BudgetExhaustedError:
        """The error that says what is spent, what is missing, and how to continue."""
        spent = self.spent_by_judge()
        total, mine = sum(spent.values()), spent.get(judge, 0.0)
        if self.left(judge) < self._cap() - total:
            setting, cap, used = f"max_usd of judge {judge!r}", self.max_usd_by_judge[judge], mine
        else:
            setting, cap, used = "judges.max_usd", self._cap(), total
        return BudgetExhaustedError(
            f"the judge budget is used up: ${used:.4f} of {setting} = ${cap:.4f} are spent or "
            "promised to batches, and "
            f"the next call does not fit; {num_missing:,} replies of judge {judge!r} for "
            f"{asset or 'this step'} are missing. All replies bought are kept: raise {setting} in "
            "the profile and run again, and only the missing ones are asked"
        )

    def _cap(self) -> float:
        return inf if self.max_usd is None else self.max_usd


def estimate_usd(pilot: Sequence[JudgeReply], num_missing: int) -> float:
    """What `num_missing` calls will cost, from the mean price of a pilot's replies.

    Raises:
        ValueError: the pilot has no replies.
    """
    if not pilot:
        raise ValueError("the pilot has no replies; an estimate needs at least one")
    return num_missing * sum(reply.usd for reply in pilot) / len(pilot)
