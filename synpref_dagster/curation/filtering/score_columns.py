"""The consistency filter over score columns, shard by shard, in bounded memory (Sec. 3.3).

`filtering.decide` is the rule. It is asked once about every state that the witnesses can be in,
and a row is then one look into that table: the same decisions, by construction.
"""

from collections.abc import Mapping
from itertools import product
from math import inf, nan
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.filtering.content_labels import ContentLabels
from synpref_dagster.curation.filtering.decision import (
    DECISIONS,
    FLIPPED,
    KEPT,
    REASONS,
    Recycle,
    decide,
)
from synpref_dagster.curation.filtering.flip_guard import FlipGuard
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import Accuracy, confidence
from synpref_dagster.pairs.columns import from_numbers, from_strings, to_numbers
from synpref_dagster.pairs.record import ID_TYPE

LABEL_TYPE = pa.dictionary(pa.int16(), pa.string())
SCORE_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        ("source", LABEL_TYPE),
        ("task_category", LABEL_TYPE),
        ("best_margin", pa.float32()),
        ("gold_margin", pa.float32()),
        ("judge_label", pa.int8()),
        ("human_label", pa.int8()),
    ]
)
"""Score columns: a null margin is missing, a null judge_label gives no label, a null human_label
means that nobody looked (0 means that people could not decide)."""
CODE_TYPE = pa.dictionary(pa.int8(), pa.string())
DECISION_SCHEMA = pa.schema(
    [
        *(SCORE_SCHEMA.field(name) for name in SCORE_SCHEMA.names[:5]),
        ("decision", CODE_TYPE),
        ("reason", CODE_TYPE),
    ]
)
DECISION_COUNT_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("task_category", pa.string()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("num_pairs", pa.int64()),
    ]
)
REASON_NAMES = tuple(REASONS)
_UNSURE = np.float32(-1e-30)
# Witness states in the order of their codes, each with a value that stands for it.
_MARGINS = (nan, -inf, _UNSURE, 0.0, 1.0)  # missing, surely against, against, tie, for
_JUDGES = (-1, 0, 1)
_PEOPLE = ((False, 0), (True, 1), (True, -1), (True, 0))  # (seen, label)


def filter_shard(
    table: pa.Table, *, max_confidence: float, recycle: Recycle = "strict"
) -> dict[str, pa.Table]:
    """Decides one shard of score columns; made for `map_shards`.

    Args:
        table: `SCORE_SCHEMA`.
        max_confidence: the guard's threshold; 0 forbids every flip by machines.
        recycle: see `filtering.decide`.

    Returns:
        "decisions" with `DECISION_SCHEMA`, one row per pair in order, and "counts" with
        `DECISION_COUNT_SCHEMA`, which add up to the rows of the shard.

    Raises:
        ValueError: the table has other columns than `SCORE_SCHEMA`.
    """
    if not table.schema.equals(SCORE_SCHEMA):
        raise ValueError(f"score columns must be\n{SCORE_SCHEMA}\nbut are\n{table.schema}")
    table = table.unify_dictionaries().combine_chunks()
    reasons = reason_table(max_confidence, recycle)[witness_states(table, max_confidence)]
    decided = [table.column(place) for place in range(5)]
    decided += [
        _coded(_DECISION_OF_REASON[reasons], DECISIONS),
        _coded(reasons, REASON_NAMES),
    ]
    return {
        "decisions": pa.Table.from_arrays(decided, schema=DECISION_SCHEMA),
        "counts": _count(table, reasons),
    }


def decide_clean_shard(
    clean: pa.Table,
    rewards: pa.Table,
    attributes: pa.Table,
    *,
    judged: ContentLabels,
    people: ContentLabels,
    guard: Mapping[str, Any],
) -> dict[str, pa.Table]:
    """Decides one shard of the clean pool.

    Args:
        clean: the pairs of the shard, with pair_id, content_id and source; other columns stay.
        rewards: pair_id, best_margin, gold_margin of the same pairs in the same order.
        attributes: pair_id, task_category of those that have attributes.
        judged: labels that judges gave.
        people: labels that people gave, 0 where they could not decide.
        guard: `max_confidence` and `recycle`, see `filter_shard`.

    Returns:
        "kept" and "dropped" (flipped and discarded): the columns of `clean` with decision, reason
        and what the witnesses said; "counts" with `DECISION_COUNT_SCHEMA`.

    Raises:
        ValueError: the rewards are about other pairs.
    """
    if rewards.column("pair_id").combine_chunks() != clean.column("pair_id").combine_chunks():
        raise ValueError("rewards and pairs of a shard differ: materialize `pool_rewards` again")
    scores = _score_columns(clean, rewards, attributes, judged=judged, people=people)
    found = filter_shard(scores, **guard)
    decided = clean
    for name in ("decision", "reason"):
        decided = decided.append_column(name, found["decisions"].column(name).cast(pa.string()))
    for name in ("best_margin", "gold_margin", "judge_label"):
        decided = decided.append_column(name, scores.column(name))
    kept = pc.equal(decided.column("decision"), KEPT)
    return {
        "kept": decided.filter(kept),
        "dropped": decided.filter(pc.invert(kept)),
        "counts": found["counts"],
    }


def flipped_pairs(dropped: pa.Table) -> pa.Table:
    """The flipped ones among the dropped pairs that `decide_clean_shard` gives."""
    return dropped.filter(pc.equal(dropped.column("decision"), FLIPPED))


def _score_columns(
    clean: pa.Table,
    rewards: pa.Table,
    attributes: pa.Table,
    *,
    judged: ContentLabels,
    people: ContentLabels,
) -> pa.Table:
    judge_label, _ = judged.of(clean)
    human_label, seen = people.of(clean)
    ids, known = (each.column("pair_id").combine_chunks().storage for each in (clean, attributes))
    category = attributes.column("task_category").take(pc.index_in(ids, value_set=known))
    columns = [
        clean.column("pair_id"),
        clean.column("source").dictionary_encode().cast(LABEL_TYPE),
        category.dictionary_encode().cast(LABEL_TYPE),
        rewards.column("best_margin"),
        rewards.column("gold_margin"),
        from_numbers(judge_label),
        pc.if_else(pa.array(seen), from_numbers(human_label), pa.scalar(None, pa.int8())),
    ]
    return pa.Table.from_arrays(columns, schema=SCORE_SCHEMA)


def reason_table(max_confidence: float, recycle: Recycle) -> np.ndarray:
    """(300,) int8: place in `REASON_NAMES` for every state of `witness_states`."""
    states = np.array(
        [
            (gold, best, judge, *person)
            for gold, best, judge, person in product(_MARGINS, _MARGINS, _JUDGES, _PEOPLE)
        ],
        dtype=np.float32,
    )
    witnesses = Witnesses(
        gold_margin=states[:, 0],
        best_margin=states[:, 1],
        judge_label=states[:, 2].astype(np.int8),
        human_seen=states[:, 3].astype(bool),
        human_label=states[:, 4].astype(np.int8),
    )
    unknown = Accuracy(nan, nan, nan, 0)
    guard = FlipGuard(max_confidence=max_confidence, precision=unknown, floor=0.0)
    _, reasons = decide(witnesses, guard=guard, recycle=recycle)
    return np.array([REASON_NAMES.index(reason) for reason in reasons], dtype=np.int8)


def witness_states(table: pa.Table, max_confidence: float) -> np.ndarray:
    """(n,) int16: which of the 300 states the witnesses of each row are in.

    Raises:
        ValueError: a label is none of -1, 0, 1 and null.
    """
    gold = _margin_state(table.column("gold_margin"), max_confidence)
    best = _margin_state(table.column("best_margin"), max_confidence)
    judge = _labels(table.column("judge_label"), null=0) + 1
    # null, -1, 0, 1 become 2, -1, 0, 1: the order of _PEOPLE is by lookup, from -1 on.
    person = np.array([2, 3, 1, 0], dtype=np.int16)[
        _labels(table.column("human_label"), null=2) + 1
    ]
    state = gold * len(_MARGINS) + best
    return (state * len(_JUDGES) + judge) * len(_PEOPLE) + person


_DECISION_OF_REASON = np.array(
    [DECISIONS.index(decision) for decision in REASONS.values()], dtype=np.int8
)


def _margin_state(column: pa.ChunkedArray, max_confidence: float) -> np.ndarray:
    # NaN compares false with everything: state 0.
    margin = to_numbers(column, null=nan)
    against = margin < 0
    state = against * np.int16(2)
    state -= against & (confidence(margin) < max_confidence)
    state += (margin == 0) * np.int16(3)
    state += (margin > 0) * np.int16(4)
    return np.asarray(state)


def _labels(column: pa.ChunkedArray, *, null: int) -> np.ndarray:
    labels = to_numbers(column, null=null).astype(np.int16)
    legal = (labels >= -1) & ((labels <= 1) | (labels == null))
    if not legal.all():
        raise ValueError(f"label {labels[~legal][0]} is none of -1, 0, 1 and null")
    return labels


def _coded(codes: np.ndarray, names: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(from_numbers(codes), from_strings(names))


def _count(table: pa.Table, reasons: np.ndarray) -> pa.Table:
    sources, source_names = _codes(table.column("source"))
    categories, category_names = _codes(table.column("task_category"))
    num_reasons = len(REASON_NAMES)
    cell = (sources * len(category_names) + categories) * num_reasons + reasons
    counts = np.bincount(cell, minlength=len(source_names) * len(category_names) * num_reasons)
    places = np.flatnonzero(counts)
    group, reason = np.divmod(places, num_reasons)
    source, category = np.divmod(group, len(category_names))
    columns = [
        from_strings([source_names[place] for place in source]),
        from_strings([category_names[place] for place in category]),
        from_strings([REASONS[REASON_NAMES[place]] for place in reason]),
        from_strings([REASON_NAMES[place] for place in reason]),
        from_numbers(counts[places]),
    ]
    return pa.Table.from_arrays(columns, schema=DECISION_COUNT_SCHEMA)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str | None]]:
    """Codes and their names; a null label is the last name, None."""
    if not len(column):
        return np.empty(0, dtype=np.int64), [None]
    labels = column.combine_chunks()
    names = [*labels.dictionary.to_pylist(), None]
    return to_numbers(labels.indices, null=len(names) - 1).astype(np.int64), names


def total_counts(counts: pa.Table) -> Mapping[str, int]:
    """Number of pairs per decision over the counts of all shards.

    >>> total_counts(DECISION_COUNT_SCHEMA.empty_table())
    {'kept': 0, 'flipped': 0, 'discarded': 0}
    """
    totals = dict.fromkeys(DECISIONS, 0)
    for decision, number in zip(
        counts["decision"].to_pylist(), counts["num_pairs"].to_pylist(), strict=True
    ):
        totals[decision] += number
    return totals
