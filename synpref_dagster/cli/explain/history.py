"""A pair's whole history in a campaign: what happened to it, step by step, in the figure's order.

A join over what the assets published, by pair and twin; nothing is computed again. What has not
been materialised yet is named, so that silence always means that nothing happened.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from synpref_dagster.cli.explain.decision_events import filter_events, release_events
from synpref_dagster.cli.explain.event import Event
from synpref_dagster.cli.explain.label_events import iteration_events, seed_events
from synpref_dagster.cli.explain.pool_events import attribute_events, is_clean, pool_events
from synpref_dagster.cli.explain.records import CampaignRecords, PairIds
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.storage import ids_with_prefix
from synpref_dagster.storage.lookup import ID_DIGITS

MIN_PREFIX = 6
MAX_CANDIDATES = 10


class PairNotFoundError(ValueError):
    """No pair, or several, match the query; the message says what to do."""

    def __init__(self, message: str, candidates: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.candidates = list(candidates)
        """Ids that begin as asked for, in pool order."""


@dataclass(frozen=True, kw_only=True)
class PairHistory:
    """What a campaign knows about one pair."""

    ids: PairIds
    pair: PreferencePair
    events: list[Event]
    outcome: str
    """What became of it, in one sentence."""
    not_there_yet: list[str]
    """Assets that were not materialised, so that nothing can be said about them."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines; texts are whole."""
        return {
            **asdict(self.ids),
            "source": self.pair.source,
            "origin": self.pair.origin,
            "conversation": list(self.pair.conversation),
            "chosen": self.pair.chosen,
            "rejected": self.pair.rejected,
            "outcome": self.outcome,
            "events": [asdict(event) for event in self.events],
            "not_there_yet": self.not_there_yet,
        }


def find_pair_id(records: CampaignRecords, text: str) -> str:
    """The one pair id that is meant, as 32 hexadecimal digits.

    Args:
        records: the campaign.
        text: an id in hexadecimal digits, a UUID, or at least `MIN_PREFIX` first digits of either.

    Raises:
        NoPoolError: nothing was read yet.
        PairNotFoundError: it is no id, unknown, or fits several pairs.
    """
    pool = records.raw_pool()
    digits = text.strip().lower().replace("-", "")
    is_hex = bool(digits) and not set(digits) - set("0123456789abcdef")
    if not is_hex or not MIN_PREFIX <= len(digits) <= ID_DIGITS:
        raise PairNotFoundError(
            f"{text!r} is no pair id: give its {ID_DIGITS} hexadecimal digits, a UUID, or at least "
            f"its first {MIN_PREFIX} digits; `--find 'words of the pair'` lists ids"
        )
    found = ids_with_prefix(pool, digits, limit=MAX_CANDIDATES + 1)
    candidates = [each.hex() for each in found[:MAX_CANDIDATES]]
    if not found:
        raise PairNotFoundError(
            f"no pair {text!r} among the {pool.num_rows:,} rows of the raw pool of "
            f"{records.profile.campaign_name()}; `--find 'words of the pair'` lists ids"
        )
    if len(found) > 1:
        number = len(found) if len(found) <= MAX_CANDIDATES else f"more than {MAX_CANDIDATES}"
        raise PairNotFoundError(
            f"{number} pairs begin with {text!r}: give more digits", candidates=candidates
        )
    return candidates[0]


def pair_history(records: CampaignRecords, pair_id: str) -> PairHistory:
    """Everything that happened to a pair of the raw pool.

    Args:
        records: the campaign.
        pair_id: 32 hexadecimal digits, see `find_pair_id`.
    """
    pair = records.pair(pair_id)
    ids = PairIds.of(pair)
    events = list(pool_events(records, ids))
    if is_clean(events):
        events += _later_events(records, ids)
    return PairHistory(
        ids=ids,
        pair=pair,
        events=events,
        outcome="; ".join(outcome_of(events)),
        not_there_yet=records.missing(),
    )


def outcome_of(events: Iterable[Event]) -> list[str]:
    """What became of a pair, from the events that decide: dropped, decided, trained on."""
    outcomes = [event.what for event in events if event.decides]
    return outcomes or ["nothing is decided yet"]


def _later_events(records: CampaignRecords, ids: PairIds) -> Iterable[Event]:
    yield from attribute_events(records, ids)
    yield from seed_events(records, ids)
    for number in range(1, records.profile.iterations.num_iterations + 1):
        yield from iteration_events(records, ids, number)
    yield from filter_events(records, ids)
    yield from release_events(records, ids)
