"""Batches of pairs for people: what an annotator gets to see of a pair, and nothing more.

An item holds the responses in sorted order and never the source label: blindness is a property of
the data, not of the page.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.people.ledger.answers import Side

ID_CHARACTERS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewItem:
    """One pair as people see it."""

    batch_id: str
    """The batch it belongs to."""
    position: int
    """Place in the batch; lower is shown first."""
    pair_id: str
    """Hex of the pair's id."""
    content_id: str
    """Hex of the id that survives a flip."""
    num_wanted: int
    """Annotators who should see it: 1, or 2 for the doubly annotated share."""
    conversation: tuple[Mapping[str, str], ...]
    """All turns, each with role and content."""
    first: str
    """The response that sorts first."""
    second: str
    """The other response."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The preference attributes, to be corrected by people."""
    risk: str = ""
    """Why to look twice: it occurs under both labels, or models are unsure; empty if neither."""
    preverification: Mapping[str, str] = field(default_factory=dict)
    """What an LLM says about `first` and `second` alone; shown behind a fold."""
    may_leave: bool = True
    """Whether it may be shown on another machine, or searched for on the web."""

    def candidates(self, candidate_1: Side) -> tuple[str, str]:
        """The responses as Candidate 1 and Candidate 2."""
        pair = (self.first, self.second)
        return pair if candidate_1 == "first" else (pair[1], pair[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A set of pairs that people are asked about at once."""

    batch_id: str
    """Hash of the campaign, the asset, the pairs and the protocol."""
    campaign: str
    """Profile and seed, e.g. `real-seed-0`."""
    asset: str
    """The asset that waits for it, e.g. `iteration_01/human_verdicts`."""
    protocol_version: str
    """Version of the instructions."""
    num_items: int
    """Pairs in the batch; it is complete in the database when as many items are there."""
    adjudicate: bool
    """Whether a disagreement asks for one more answer, by an adjudicator."""
    created_at: float
    """Unix time in seconds."""


def make_batch(
    pairs: Sequence[PreferencePair],
    about: Mapping[bytes, Mapping[str, Any]],
    *,
    batch: Batch,
    double_share: float,
    staying: Collection[str] = (),
) -> list[ReviewItem]:
    """Items of a batch, in the order of the pairs.

    Args:
        pairs: what people are asked about.
        about: pair_id -> `attributes`, `risk`, `preverification`, each optional.
        batch: whose items these are.
        double_share: share of the pairs that two people see, spread evenly by a hash of the pair.
        staying: names of the sources whose texts may not leave this machine.

    Raises:
        ValueError: the share is not from 0 to 1.
    """
    if not 0 <= double_share <= 1:
        raise ValueError(f"double_share is {double_share!r}, must be from 0 to 1")
    twice = seen_twice([pair.pair_id for pair in pairs], double_share)
    items = []
    for place, pair in enumerate(pairs):
        known = about.get(pair.pair_id, {})
        first, second = sorted((pair.chosen, pair.rejected))
        items.append(
            ReviewItem(
                batch_id=batch.batch_id,
                position=place,
                pair_id=pair.pair_id.hex(),
                content_id=pair.content_id.hex(),
                num_wanted=2 if pair.pair_id in twice else 1,
                conversation=tuple(
                    {"role": turn["role"], "content": turn["content"]} for turn in pair.conversation
                ),
                first=first,
                second=second,
                attributes=dict(known.get("attributes", {})),
                risk=str(known.get("risk", "")),
                preverification=dict(known.get("preverification", {})),
                may_leave=pair.source not in staying,
            )
        )
    return items


def seen_twice(ids: Sequence[bytes], double_share: float) -> set[bytes]:
    """The pairs of a batch that two people see, spread evenly by a hash of the pair.

    A smaller share is part of a larger one: who lowers it takes back what was not answered yet.
    """
    ranked = sorted(ids, key=lambda pair_id: _digest("double", pair_id))
    return set(ranked[: round(double_share * len(ranked))])


def batch_id(campaign: str, asset: str, *, ids: Sequence[bytes], protocol_version: str) -> str:
    """Identity of a batch: the same pairs for the same asset are one batch, however often asked."""
    text = json.dumps([campaign, asset, protocol_version, sorted(each.hex() for each in ids)])
    return blake2b(text.encode(), digest_size=ID_CHARACTERS // 2).hexdigest()


def side_for(pair_id: str, annotator: str) -> Side:
    """Which response this annotator sees as Candidate 1: random, but the same after a reload."""
    return "first" if _digest("side", f"{annotator}:{pair_id}".encode())[0] % 2 else "second"


def _digest(purpose: str, content: bytes) -> bytes:
    return blake2b(content, digest_size=8, person=purpose.encode()).digest()
