"""Boxes 5 and 6 in the history of a pair: rewards, the decision, and what was trained on it."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from synpref_dagster.cli.explain.event import FILTERING, RELEASE, Event
from synpref_dagster.cli.explain.label_events import gold_after
from synpref_dagster.cli.explain.panel_events import FLIP_EVIDENCE, panel_events
from synpref_dagster.cli.explain.records import CampaignRecords, PairIds, Row
from synpref_dagster.cli.explain.words import DECISION_WORDS, LABEL_WORDS, in_words
from synpref_dagster.pairs.accuracy import confidence
from synpref_dagster.reward.backbones import BACKBONES
from synpref_dagster.storage import DatasetRef, ModelRef

DECIDED = "consistency_filtered_subset"
Sides: TypeAlias = tuple[DatasetRef | None, DatasetRef | None]
REWARD_COLUMNS = (
    "best_chosen", "best_rejected", "best_margin", "gold_chosen", "gold_rejected", "gold_margin",
)  # fmt: skip
TIERS = {
    "gold": "as gold (people's label)",
    "silver": "as silver (the judges' label)",
    "curated": "as a kept pair",
    "recycled": "as a recycled pair",
}


def filter_events(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    """Rewards, evidence for the flip guard, relabelling, and the decision."""
    chosen = _best_iteration(records)
    rewards = records.rows(records.ref("pool_rewards"), [ids.pair_id])
    for row in rewards:
        yield Event(
            box=FILTERING,
            step="pool_rewards",
            what=f"best RM{f' (iteration {chosen})' if chosen is not None else ''} "
            f"{_opinion(row['best_margin'])}; gold RM {_opinion(row['gold_margin'])}",
            facts={"best_iteration": chosen, **{name: row[name] for name in REWARD_COLUMNS}},
        )
    yield from _evidence(records, ids)
    relabelled = records.ref("relabelled_pairs")
    asked = list(panel_events(records, ids, box=FILTERING, step="relabelled_pairs"))
    if relabelled and rewards and not any("label" in event.facts for event in asked):
        agrees = (rewards[0]["best_margin"] or 0.0) > 0
        yield Event(
            box=FILTERING,
            step="relabelled_pairs",
            what="judges were not asked again: "
            + ("the best RM agrees" if agrees else "stage 1 labelled it or gave it up"),
        )
    yield from asked
    yield from _decision(records, ids)


def release_events(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    """Whether the final models train on it, under which label, and which of them have."""
    curated = records.ref("curated_dataset")
    rows = records.rows(curated, ids.both())
    for row in rows:
        yield from _in_curated(records, ids, row)
    if rows or curated is None:
        return
    last = gold_after(records.profile.iterations.num_iterations)
    held_out = [
        row
        for row in records.rows(records.kept(last), [ids.conversation_id], "conversation_id")
        if row["split"] == "validation"
    ]
    why = "its conversation validates the models" if held_out else "it was discarded"
    yield Event(
        box=RELEASE,
        step="curated_dataset",
        what=f"in no final training set: {why}",
        facts={"tier": None, "split": None, "trained": []},
        decides=bool(held_out),
    )


def _best_iteration(records: CampaignRecords) -> int | None:
    best = records.ref("best_reward_model")
    for number in range(records.profile.iterations.num_iterations + 1):
        model = records.ref(f"iteration_{number:02d}/reward_model")
        if isinstance(best, ModelRef) and model == best:
            return number
    return None


def _opinion(margin: float | None) -> str:
    if margin is None:
        return "gave no reward"
    probability = float(confidence(np.array([margin]))[0])
    agrees = "agrees" if margin > 0 else "disagrees" if margin < 0 else "is undecided"
    return f"{agrees}, margin {margin:+.2f}, p = {probability:.2f}"


def _evidence(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    for row in records.rows(records.ref(FLIP_EVIDENCE), ids.both()):
        sign = ids.sign(row)
        labels = {name: sign * row[name] for name in ("human_label", "judge_label")}
        margins = {name: _signed(sign, row[name]) for name in ("gold_margin", "best_margin")}
        yield Event(
            box=FILTERING,
            step=FLIP_EVIDENCE,
            what="as a gold pair it measures flips: people "
            f"{LABEL_WORDS[labels['human_label']]}, judges {LABEL_WORDS[labels['judge_label']]}, "
            f"a gold RM that never saw it {_opinion(margins['gold_margin'])}",
            facts={"pair_id": row["pair_id"], **labels, **margins},
        )
    yield from panel_events(records, ids, box=FILTERING, step=FLIP_EVIDENCE)


def _signed(sign: int, value: float | None) -> float | None:
    return None if value is None else sign * value


def _decision(records: CampaignRecords, ids: PairIds) -> Iterator[Event]:
    sides = (records.kept(DECIDED), records.dropped(DECIDED))
    for row in (row for side in sides for row in records.rows(side, [ids.pair_id])):
        yield Event(
            box=FILTERING,
            step=DECIDED,
            what=f"{row['decision']}: {in_words(DECISION_WORDS, row['reason'])}",
            facts={
                name: row[name]
                for name in ("decision", "reason", "best_margin", "gold_margin", "judge_label")
            },
            decides=True,
        )
        yield from _twin_decision(records, ids, sides)
    for _ in records.rows(records.ref("recycled_pairs"), [ids.pair_id]):
        yield Event(
            box=FILTERING,
            step="recycled_pairs",
            what="recycled: its responses change places",
            facts={"recycled": True},
        )


def _twin_decision(records: CampaignRecords, ids: PairIds, sides: Sides) -> Iterator[Event]:
    for row in (row for side in sides for row in records.rows(side, [ids.twin_id])):
        yield Event(
            box=FILTERING,
            step=DECIDED,
            what=f"its twin is {row['decision']}: {in_words(DECISION_WORDS, row['reason'])}",
            facts={"twin_decision": row["decision"], "twin_reason": row["reason"]},
        )


def _in_curated(records: CampaignRecords, ids: PairIds, row: Row) -> Iterator[Event]:
    # The id of a curated row is that of the pair under its curated label.
    label = 1 if row["pair_id"] == ids.pair_id else -1
    under = "its label" if label > 0 else "the opposite label"
    facts = {"tier": row["tier"], "split": row["split"], "label": label}
    if row["split"] == "validation":
        yield Event(
            box=RELEASE,
            step="curated_dataset",
            what=f"validates the final models under {under}; none trains on it",
            facts={**facts, "trained": []},
            decides=True,
        )
        return
    sizes = [b.model_size for b in BACKBONES if row["tier"] != "recycled" or b.sees_recycled]
    trained = [size for size in sizes if records.ref(f"skywork_reward_v2/{size}") is not None]
    alone = " (of the models that see recycled pairs)" if row["tier"] == "recycled" else ""
    through_twin = row["tier"] == "curated" and label < 0
    tier = "as its kept twin" if through_twin else TIERS[row["tier"]]
    yield Event(
        box=RELEASE,
        step="curated_dataset",
        what=f"in the final training set under {under}, {tier}{alone}",
        facts={**facts, "trained": trained},
        decides=True,
    )
    if trained:
        yield Event(
            box=RELEASE,
            step="skywork_reward_v2",
            what=f"in the training set of {', '.join(trained)}",
            facts={"trained": trained},
        )
