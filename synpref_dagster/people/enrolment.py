"""Who is enrolled, and since when: nobody waits for a second answer that no one could give.

What one annotator finished while there was no other stays finished when another one comes.
"""

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass

ENROL = "`synpref review add-annotator NAME`"


@dataclass(frozen=True, slots=True)
class Missing:
    """What a batch waits for, in numbers of pairs."""

    num_first: int
    """Pairs without an answer."""
    num_second: int
    """Pairs that want another answer."""
    num_disputed: int
    """Pairs that an adjudicator decides."""
    who: tuple[str, ...]
    """Annotators who could give at least one of these answers, by name."""
    num_without_anybody: int
    """Pairs for which nobody who is enrolled could."""
    num_without_adjudicator: int
    """Those of them that an adjudicator decides."""

    def __str__(self) -> str:
        kinds = {
            "for an answer": self.num_first,
            "for a second person": self.num_second,
            "for an adjudicator": self.num_disputed,
        }
        told = [f"{number:,} {what}" for what, number in kinds.items() if number]
        if not told:
            return ""
        can = f"{', '.join(self.who)} can give answers" if self.who else ""
        return "; ".join(filter(None, (", ".join(told), can, *self._advice())))

    def _advice(self) -> list[str]:
        lacking = self.num_without_anybody - self.num_without_adjudicator
        advice = []
        if lacking:
            advice.append(f"for {lacking:,} nobody is enrolled on the page who could: {ENROL}")
        if self.num_without_adjudicator:
            advice.append(
                f"for {self.num_without_adjudicator:,} no adjudicator is enrolled who could: "
                f"{ENROL[:-1]} --adjudicator`, or set people.adjudicate = false"
            )
        return advice


class Enrolment:
    """Accounts as they were opened and closed."""

    def __init__(self) -> None:
        self._active: dict[str, bool] = {}
        self._times: list[float] = []
        self._counts: list[int] = []

    def add(self, name: str, *, active: bool, adjudicator: bool, at: float) -> None:
        """An account was opened, changed or closed."""
        if active:
            self._active[name] = adjudicator
        else:
            self._active.pop(name, None)
        self._times.append(max([at, *self._times[-1:]]))
        self._counts.append(len(self._active))

    def count(self, at: float | None = None) -> int:
        """How many are enrolled, now or at a time; 0 where accounts are not known."""
        if at is None:
            return self._counts[-1] if self._counts else 0
        place = bisect_right(self._times, at)
        return self._counts[place - 1] if place else 0

    def who_could(self, *, besides: Collection[str], adjudicators: bool) -> list[str]:
        """Names of those who are enrolled now.

        Args:
            besides: who answered already.
            adjudicators: whether only these.
        """
        return [
            name
            for name, is_adjudicator in sorted(self._active.items())
            if name not in besides and (is_adjudicator or not adjudicators)
        ]
