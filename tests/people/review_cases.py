"""Pairs, batches and a clock for the tests of the review page."""

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.people.ledger.batches import Batch, make_batch

ATTRIBUTES = {
    "task_category": "coding_and_debugging",
    "objectivity": "objective",
    "controversiality": "low",
    "desired_attributes": "runs; short",
    "annotation_guideline": "Run both and prefer the one that works.",
}


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def make_pair(number: int, *, chosen: str = "good", rejected: str = "bad") -> PreferencePair:
    return PreferencePair(
        conversation=({"role": "user", "content": f"question {number}"},),
        chosen=f"{chosen} {number}",
        rejected=f"{rejected} {number}",
        source="s",
        origin="human",
    )


def announce(
    desk, pairs, *, name="batch", double_share=0.0, adjudicate=True, about=None, staying=()
):
    batch = Batch(
        batch_id=name,
        campaign="demo-seed-0",
        asset="human_verified_seed",
        protocol_version="1",
        num_items=len(pairs),
        adjudicate=adjudicate,
        created_at=1_700_000_000.0,
    )
    known = about or {pair.pair_id: {"attributes": ATTRIBUTES} for pair in pairs}
    items = make_batch(pairs, known, batch=batch, double_share=double_share, staying=staying)
    desk.announce(batch, items)
