"""Boxes 1 and 2 in the history of a pair: where it is from, what cleaning found, its attributes."""

import json
from collections.abc import Iterable, Iterator

from synpref_dagster.cli.explain.event import ATTRIBUTES, POOL, Event
from synpref_dagster.cli.explain.records import SHOWN_DIGITS, CampaignRecords, PairIds, Row, plain
from synpref_dagster.cli.explain.words import DROP_WORDS, in_words, risk_in_words
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS
from synpref_dagster.pairs.texts import counted
from synpref_dagster.storage import DatasetRef, find_rows

CLEAN = "clean_pool"
REVIEW = "contamination_review"  # fact of the clean pool: what judges said about its hits
STRICT, STRICT_REVIEW = "strict_overlaps", "review"  # the same of the strict pass
SAME_MEANING = "semantic_duplicates"
OCCURRENCE_COLUMNS = ["pair_id", "source", "origin", "meta"]


def pool_events(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    """Reading, duplicates, the twin, cleaning and the split between the stages."""
    yield from _read_events(records, ids)
    yield from _personal_data(records, ids)
    cleaned = list(_cleaning(records, ids))
    yield from cleaned
    if not is_clean(cleaned):
        return
    yield from _near_duplicates(records, ids)
    yield from _strict_overlaps(records, ids)
    yield from _stage(records, ids)


def is_clean(events: Iterable[Event]) -> bool:
    """Whether a pair is in the clean pool, or may still come there."""
    by_kept = [e.facts["kept"] for e in events if e.step == CLEAN and "kept" in e.facts]
    return any(by_kept) or not by_kept


def attribute_events(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    """The attributes of a pair of stage 1, and who gave them."""
    judges = records.profile.judges
    names = ", ".join(each.name for each in judges.endpoints)
    labeller = f"LLM judges ({names})" if judges.kind == "endpoints" else "the built-in classifier"
    for row in records.rows(records.ref("attribute_labels"), [ids.pair_id]):
        kinds = [row["task_category"], row["objectivity"]]
        yield Event(
            box=ATTRIBUTES,
            step="attribute_labels",
            what=f"{', '.join(kinds)}, {row['controversiality']} controversiality, says {labeller} "
            f"(confidence {row['confidence']:.2f})",
            facts={
                "labelled_by": labeller,
                "confidence": row["confidence"],
                "attributes": {name: row[name] for name in ATTRIBUTE_COLUMNS},
            },
        )


def _read_events(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    rows = _occurrences(records.raw_pool(), ids)
    own = [row for row in rows if row["pair_id"] == ids.pair_id]
    place = _place(own[0])
    label = "a person" if own[0]["origin"] == "human" else "a model or rule"
    again = f"; {len(own) - 1} more of the same: {_places(own[1:])}" if len(own) > 1 else ""
    yield Event(
        box=POOL,
        step="raw_pool",
        what=f"read from {place}, its label set by {label}{again}",
        facts={"occurrences": own},
    )
    if twins := [row for row in rows if row["pair_id"] == ids.twin_id]:
        yield Event(
            box=POOL,
            step="raw_pool",
            what=f"the opposite label is in the pool too: its twin {ids.twin_id[:SHOWN_DIGITS]}, "
            f"from {_places(twins)}",
            facts={"twins": twins},
        )


def _occurrences(raw: DatasetRef, ids: PairIds) -> list[Row]:
    found = find_rows(
        raw, [bytes.fromhex(ids.content_id)], "content_id", columns=OCCURRENCE_COLUMNS
    )
    return [{name: plain(value) for name, value in row.items()} for row in found.to_pylist()]


def _places(rows: list[Row]) -> str:
    return ", ".join(_place(row) for row in rows)


def _place(row: Row) -> str:
    number = json.loads(row["meta"] or "{}").get("row")
    return str(row["source"]) if number is None else f"{row['source']} row {number}"


def _personal_data(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    report = records.ref("pii_report")
    for row in records.rows(report and report["pairs"], [ids.pair_id]):
        yield Event(
            box=POOL,
            step="pii_report",
            what=f"personal data: {row['kinds'] or 'nothing found'} (level {row['level']})",
            facts=row,
        )


def _cleaning(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    kept = records.kept(CLEAN)
    dropped = records.rows(records.dropped(CLEAN), [ids.pair_id])
    rows = records.rows(kept, [ids.pair_id])
    for review in records.rows(records.fact(kept, REVIEW), [ids.pair_id]):
        verdict = "no copy" if review["cleared"] else "a copy"
        yield Event(
            box=POOL,
            step=CLEAN,
            what=f"shares '{review['shared']}' with {review['benchmark']} {review['item_id']}; "
            f"judges call it {verdict} ({review['num_coincidence']} coincidence, "
            f"{review['num_same_item']} same item)",
            facts=review,
        )
    for row in rows:
        risk = risk_in_words(row["risk"])
        yield Event(
            box=POOL,
            step=CLEAN,
            what=f"kept{', risky' if row['risky'] else ''}{': ' + risk if risk else ''}",
            facts={"kept": True, "risky": row["risky"], "risk": row["risk"]},
        )
    # The rows of one pair are dropped for reasons of their own: its repetitions as duplicates.
    for row in dropped:
        is_repetition = row["reason"] == "duplicate"
        yield Event(
            box=POOL,
            step=CLEAN,
            what=f"{'one row ' if is_repetition else ''}dropped: {_why_dropped(row)}",
            facts={"kept": False, **row},
            decides=not is_repetition,
        )


def _why_dropped(row: Row) -> str:
    words = in_words(DROP_WORDS, row["reason"])
    if row["reason"] == "contaminated":
        place = f"{row['benchmark']} {row['item_id']}"
        if row["rule"] == "exact_prompt":
            return f"contaminated, its whole prompt is that of {place}"
        return f"contaminated, its prompt shares '{row['gram']}' with {place}"
    if row["reason"] == "duplicate":
        return f"an exact duplicate, read from {row['source']}; the first row counts"
    return f"{words} ({row['detail']})" if row["detail"] else words


def _near_duplicates(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    found = records.ref("near_duplicates")
    by_words = _linked(records, found and found["links"], ids, told=("similarity", "relation"))
    if by_words:
        yield Event(
            box=POOL,
            step="near_duplicates",
            what=f"nearly the same as {counted(len(by_words), 'other pair')}",
            facts={"alike": by_words},
        )
    # Without vectors that know it nobody looked.
    links = records.ref(SAME_MEANING) if records.profile.embedding.min_cosine else None
    by_meaning = _linked(records, links, ids, told=("cosine", "similarity"))
    if by_meaning:
        yield Event(
            box=POOL,
            step=SAME_MEANING,
            what=f"says nearly what {counted(len(by_meaning), 'other pair')} says in other words",
            facts={"alike_in_meaning": by_meaning},
        )


def _linked(
    records: CampaignRecords, links: DatasetRef | None, ids: PairIds, *, told: Iterable[str]
) -> list[Row]:
    """The other ends of a pair's links: pair_id, source and what is told of a link."""
    sides = {"first": "second", "second": "first"}
    return [
        {
            "pair_id": row[f"{other}_pair_id"],
            "source": row[f"{other}_source"],
            **{name: row[name] for name in told},
        }
        for side, other in sides.items()
        for row in records.rows(links, [ids.pair_id], f"{side}_pair_id")
    ]


def _strict_overlaps(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    found = records.ref(STRICT)
    reviewed = records.rows(records.fact(found, STRICT_REVIEW), [ids.pair_id])
    fields = {"conversation": "a turn", "chosen": "the chosen", "rejected": "the rejected"}
    for row in records.rows(found, [ids.pair_id]):
        place = f"{fields[row['field']]}{'' if row['field'] == 'conversation' else ' response'}"
        outcome = (
            "judges call it coincidence"
            if row["cleared"]
            else "it stays out of stage 1 and of gold"
        )
        yield Event(
            box=POOL,
            step=STRICT,
            what=f"{place} shares '{row['gram']}' with {row['benchmark']} {row['item_id']}: "
            f"{outcome}",
            facts={**row, "reviews": reviewed},
        )


def _stage(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    stages = {
        "unverified_pool": "stage 1: people and judges may be asked about it",
        "wild_pool": "stage 2 only: its label is checked by reward models and judges",
    }
    for name, words in stages.items():
        if records.rows(records.ref(name), [ids.pair_id]):
            yield Event(box=POOL, step=name, what=words)
