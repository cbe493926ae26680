"""Boxes 3 and 4 in the history of a pair: retrieved, asked about, labelled, gold or silver.

What people and judges say about a pair's twin holds for the pair with the opposite sign. Every
label here is relative to the pair that is explained; facts say which of the two was asked about.
"""

from collections.abc import Iterator, Sequence

from synpref_dagster.cli.explain.event import SEED, Event, iteration_box
from synpref_dagster.cli.explain.panel_events import SILVER_SEED, panel_events
from synpref_dagster.cli.explain.records import SHOWN_DIGITS, CampaignRecords, PairIds, Row
from synpref_dagster.cli.explain.words import (
    DROP_WORDS,
    LABEL_WORDS,
    in_words,
    risk_in_words,
)
from synpref_dagster.curation.verification.corrections import EDITS_COLUMN, read_edits
from synpref_dagster.pairs.texts import counted
from synpref_dagster.storage import DatasetRef

GOLD_SEED = "human_verified_seed"


def seed_events(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    """The seed: whether it was a candidate, and what people or judges made of it."""
    for row in records.rows(records.ref("seed_candidates"), ids.both()):
        risk = risk_in_words(row["risk"])
        yield Event(
            box=SEED,
            step="seed_candidates",
            what=f"chosen for the seed{ids.through(row)}; {row['asked']} are asked"
            f"{': ' + risk if risk else ''}",
            facts={"pair_id": row["pair_id"], "asked": row["asked"], "risk": row["risk"]},
        )
    ledger = records.fact(records.kept(GOLD_SEED), "ledger")
    yield from _verdicts(records, ids, ledger, box=SEED, step=GOLD_SEED)
    yield from _gold(records, ids, 0, box=SEED)
    yield from panel_events(records, ids, box=SEED, step=SILVER_SEED)
    yield from _silver(records, ids, SILVER_SEED, number=0, box=SEED)
    yield from _gold_confidence(records, ids, 0)


def iteration_events(records: CampaignRecords, ids: PairIds, number: int) -> Iterator[Event]:
    """One iteration: retrieval, verdicts, votes, and gold and silver after it."""
    box, name = iteration_box(number), f"iteration_{number:02d}"
    yield from _retrieval(records, ids, f"{name}/retrieved_pairs", box=box)
    ledger = f"{name}/human_verdicts"
    yield from _verdicts(records, ids, records.ref(ledger), box=box, step=ledger)
    yield from panel_events(records, ids, box=box, step=f"{name}/judge_votes")
    yield from _gold(records, ids, number, box=box)
    yield from _silver(records, ids, f"{name}/silver", number=number, box=box)
    yield from _gold_confidence(records, ids, number)


def gold_after(number: int) -> str:
    """The asset that holds all gold after an iteration; 0 is the seed."""
    return f"iteration_{number:02d}/gold" if number else GOLD_SEED


def _retrieval(records: CampaignRecords, ids: PairIds, step: str, *, box: str) -> Iterator[Event]:
    pulled = records.ref(step)
    for row in records.rows(pulled, ids.both()):
        risk = risk_in_words(row["risk"])
        yield Event(
            box=box,
            step=step,
            what=f"retrieved{ids.through(row)} by gold pair "
            f"{row['gold_pair_id'][:SHOWN_DIGITS]}, on whose label the reward model had "
            f"p = {row['gold_confidence']:.2f} (similarity {row['similarity']:.2f})"
            f"{'; risky: ' + risk if risk else ''}",
            facts=row,
        )
    if others := records.rows(pulled, ids.both(), "gold_pair_id"):
        yield Event(
            box=box,
            step=step,
            what=f"as a gold pair it pulled {counted(len(others), 'unverified pair')}",
            facts={"pulled": [row["pair_id"] for row in others]},
        )


def _verdicts(
    records: CampaignRecords, ids: PairIds, ledger: DatasetRef | None, *, box: str, step: str
) -> Iterator[Event]:
    rows = records.rows(ledger, ids.both())
    if not rows:
        return
    verdicts = [_verdict(row, ids) for row in rows]
    said = [each["verdict"] if each["decided"] else None for each in verdicts]
    ways = {1: "for the label", -1: "against the label", 0: "call it a tie", None: "cannot decide"}
    counts = ", ".join(f"{said.count(way)} {words}" for way, words in ways.items() if way in said)
    yield Event(
        box=box,
        step=step,
        what=f"people{ids.through(rows[0])}: {counts}",
        facts={"people": verdicts},
    )


def _verdict(row: Row, ids: PairIds) -> Row:
    return {
        "asked_about": row["pair_id"],
        "annotator": row["annotator"],
        "verdict": ids.sign(row) * row["verdict"],
        "decided": row["decided"],
        "corrections": read_edits(row.get(EDITS_COLUMN)),
        "seconds": row.get("seconds"),
        "created_at": row.get("created_at"),
    }


def _gold(records: CampaignRecords, ids: PairIds, number: int, *, box: str) -> Iterator[Event]:
    """What an iteration added to gold, and what it gave up; both tables are cumulative."""
    step = gold_after(number)
    for row in records.rows(records.kept(step), ids.both()):
        if row["iteration"] != number:
            continue  # It was there before this iteration.
        label = ids.sign(row) * row["label"]
        edits = read_edits(row[EDITS_COLUMN])
        corrected = ", ".join(f"{name} = {value}" for name, value in edits.items())
        yield Event(
            box=box,
            step=step,
            what=f"gold, {row['split']} part: {LABEL_WORDS[label]}{ids.through(row)}"
            f"{'; people corrected ' + corrected if edits else ''}",
            facts={
                "pair_id": row["pair_id"],
                "label": label,
                "split": row["split"],
                "iteration": row["iteration"],
                "corrections": edits,
            },
        )
    known = records.rows(records.dropped(gold_after(number - 1)), ids.both()) if number else []
    given_up = records.rows(records.dropped(step), ids.both())
    yield from _left_out(ids, given_up[len(known) :], box=box, step=step)


def _silver(
    records: CampaignRecords, ids: PairIds, step: str, *, number: int, box: str
) -> Iterator[Event]:
    for row in records.rows(records.kept(step), ids.both()):
        if row["iteration"] != number:
            continue  # It was there before this iteration.
        label = ids.sign(row) * row["label"]
        yield Event(
            box=box,
            step=step,
            what=f"silver: {LABEL_WORDS[label]}{ids.through(row)}, trains the reward models "
            "of stage 1",
            facts={
                "pair_id": row["pair_id"],
                "label": label,
                "confidence": row["confidence"],
                "iteration": row["iteration"],
            },
        )
    yield from _left_out(ids, records.rows(records.dropped(step), ids.both()), box=box, step=step)


def _left_out(ids: PairIds, rows: Sequence[Row], *, box: str, step: str) -> Iterator[Event]:
    kind = "silver" if "silver" in step else "gold"
    for row in rows:
        yield Event(
            box=box,
            step=step,
            what=f"not {kind}{ids.through(row)}: {in_words(DROP_WORDS, row['reason'])}",
            facts={"pair_id": row["pair_id"], "reason": row["reason"]},
        )


def _gold_confidence(records: CampaignRecords, ids: PairIds, number: int) -> Iterator[Event]:
    step = f"iteration_{number:02d}/gold_confidence"
    for row in records.rows(records.ref(step), ids.both()):
        right = "right" if row["margin"] > 0 else "wrong"
        yield Event(
            box=iteration_box(number),
            step=step,
            what=f"the reward model is {right} about people's label: p = {row['confidence']:.2f}",
            facts={"margin": row["margin"], "confidence": row["confidence"]},
        )
