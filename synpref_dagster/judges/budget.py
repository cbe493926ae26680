"""What judging costs: prices, the estimate before most of it is sent, and the cap that holds.

An attempt is only sent when the most it can cost still fits under the caps of campaign and judge,
beside what was paid, what is in flight in any process, and what calls without an answer may have
cost. What was bought before the cap is in the cache, and a higher cap continues from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from synpref_dagster.judges.cache import Payer
from synpref_dagster.judges.requests import CUT_SHORT, JudgeError, JudgeReply, JudgeRequest
from synpref_dagster.settings.embedding import BILLED

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

    def charged_usd(self, reply: JudgeReply, *, most_usd: float) -> float:
        """What a reply cost, in US dollars.

        Args:
            reply: one that says how many tokens it used, or not, or only half of it: tokens of the
                prompt are always charged, and those of the reply unless it is empty or free.
            most_usd: what its request can cost at most; it counts where the reply does not say.
        """
        stated = self.usd(reply.prompt_tokens, reply.completion_tokens)
        is_empty = not reply.text and reply.finish_reason.lower() not in CUT_SHORT
        is_said = reply.completion_tokens or is_empty or not self.usd_per_million_output
        if reply.prompt_tokens and is_said:
            return stated
        return max(stated, most_usd)

    def most_usd(self, request: JudgeRequest, max_tokens: int) -> float:
        """The most that a request can cost: a token has at least one byte, of the schema too."""
        prompt_tokens = request.num_bytes + TOKENS_PER_MESSAGE * len(request.messages)
        return self.usd(prompt_tokens, max_tokens)


@dataclass(kw_only=True)
class Budget:
    """The caps of one campaign. What is spent under them stands in the reply cache."""

    max_usd: float | None = None
    """Cap of the campaign; None allows anything."""
    max_usd_by_judge: Mapping[str, float] = field(default_factory=dict)
    """Caps of single judges."""
    num_in_flight: int = 0
    """Calls of this process that hold a reservation."""

    def fits(self, judge: str, usd: float, committed: Mapping[str, float]) -> bool:
        """Whether a judge may cost that much more.

        Args:
            judge: its name.
            usd: what it would cost, in US dollars.
            committed: what each judge has cost or may have cost, and was promised.
        """
        return usd <= self.left(judge, committed=committed)

    def left(self, judge: str, *, committed: Mapping[str, float]) -> float:
        """US dollars that this judge may still cost; infinite without caps."""
        mine = self.max_usd_by_judge.get(judge, inf) - committed.get(judge, 0.0)
        return min(self._cap() - sum(committed.values()), mine)

    def exhausted(
        self, payer: Payer, committed: Mapping[str, float], *, num_missing: int
    ) -> BudgetExhaustedError:
        """The error that says what is spent, what is missing, and how to continue."""
        judge, total = payer.judge, sum(committed.values())
        if self.left(judge, committed=committed) < self._cap() - total:
            setting, cap = f"max_usd of judge {judge!r}", self.max_usd_by_judge[judge]
            setting = "embedding.max_usd" if judge == BILLED else setting
            used = committed.get(judge, 0.0)
        else:
            setting, cap, used = "judges.max_usd", self._cap(), total
        return BudgetExhaustedError(
            f"the judge budget is used up: ${used:.4f} of {setting} = ${cap:.4f} are spent, "
            "promised to batches, or set aside for calls whose price is not known (`synpref judges "
            f"bill` shows each), and the next call does not fit; {num_missing:,} replies of judge "
            f"{judge!r} for {payer.asset or 'this step'} are missing. All replies bought are kept: "
            f"raise {setting} in the profile and run again, and only the missing ones are asked"
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
