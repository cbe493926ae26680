"""What judges said about a pair: label, votes, verdicts and the exemplars they were shown."""

from collections.abc import Iterator, Mapping

from synpref_dagster.cli.explain.event import Event
from synpref_dagster.cli.explain.records import CampaignRecords, PairIds, Row
from synpref_dagster.cli.explain.words import DROP_WORDS, LABEL_WORDS, in_words
from synpref_dagster.curation.judging.votes import CHOICE_SIGNS
from synpref_dagster.pairs.texts import counted
from synpref_dagster.storage import DatasetRef

PANEL_TABLES = ("labels", "votes", "verdicts", "exemplars")
"""What is read of what a panel of judges leaves."""
SILVER_SEED, FLIP_EVIDENCE = "silver_seed", "flip_evidence"
BESIDE_RESULT = frozenset({SILVER_SEED, FLIP_EVIDENCE})
"""Assets whose reference names what they made of the answers; what the panel said lies beside it.
The reference of every other asset that asks judges names the panel's tables themselves."""


def panel_tables(records: CampaignRecords, step: str) -> Mapping[str, DatasetRef | None]:
    """The panel's tables of an asset that asked judges; none when it has not run."""
    ref = records.ref(step)
    if ref is None:
        return {}
    if step in BESIDE_RESULT:
        return {name: records.part(step, name) for name in PANEL_TABLES}
    return {name: ref.get(name) for name in PANEL_TABLES}


def panel_events(records: CampaignRecords, ids: PairIds, *, box: str, step: str) -> Iterator[Event]:
    """The panel's label of a pair, and for how many pairs it was shown as an exemplar.

    Args:
        records: the campaign.
        ids: the pair; its twin may have been asked about in its place.
        box: of the figure.
        step: the asset that asked.
    """
    parts = panel_tables(records, step)
    exemplars = parts.get("exemplars")
    for row in records.rows(parts.get("labels"), ids.both()):
        asked = [row["pair_id"]]
        sign = ids.sign(row)
        label = sign * row["label"]
        for_it, against = row["num_for"], row["num_against"]
        counts = (for_it, against) if sign > 0 else (against, for_it)
        twin = "" if sign > 0 else " (asked about its twin)"
        why = "" if label else f" ({in_words(DROP_WORDS, row['reason'])})"
        votes = records.rows(parts.get("votes"), asked)
        verdicts = [_verdict(each, sign) for each in records.rows(parts.get("verdicts"), asked)]
        yield Event(
            box=box,
            step=step,
            what=f"judges{twin}: {LABEL_WORDS[label]}{why}, {counted(counts[0], 'vote')} for it, "
            f"{counts[1]} against (confidence {row['confidence']:.2f})",
            facts={
                "asked_about": row["pair_id"],
                "label": label,
                "reason": row["reason"],
                "confidence": row["confidence"],
                "votes": [_vote(each, sign) for each in votes],
                "verdicts": verdicts,
                "exemplars": [
                    shown["gold_pair_id"]
                    for shown in sorted(records.rows(exemplars, asked), key=lambda r: r["rank"])
                ],
            },
        )
    shown_for = {row["pair_id"] for row in records.rows(exemplars, ids.both(), "gold_pair_id")}
    if shown_for:
        yield Event(
            box=box,
            step=step,
            what=f"shown to judges as an exemplar for {counted(len(shown_for), 'other pair')}",
            facts={"exemplar_for": sorted(shown_for)},
        )


def _vote(row: Row, sign: int) -> Row:
    return {
        "judge": row["judge"],
        "vote": sign * row["vote"],
        "score": sign * row["score"],
        "num_verdicts": row["num_verdicts"],
        "num_abstained": row["num_abstained"],
    }


def _verdict(row: Row, sign: int) -> Row:
    """One sample; `verdict` is +1 for the pair's label, -1 against it, 0 tie, None abstained."""
    side = sign if row["chosen_first"] else -sign
    said = None if row["choice"] == "abstain" else int(side * CHOICE_SIGNS[row["choice"]])
    return {
        "judge": row["judge"],
        "sample": row["sample"],
        "chosen_first": row["chosen_first"] == (sign > 0),
        "verdict": said,
        "reason": row["reason"],
    }
