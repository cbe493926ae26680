"""Consistency filter of stage 2 (paper Sec. 3.3): every pair is kept, flipped or discarded.

Three witnesses speak about the source label of a pair: the gold RM, the best RM, and the judges.
A human verdict beats them all. The three outcomes partition the pool exactly, each with a reason.
Flips are strict: all three witnesses disagree with the label, and the guard of `flip_guard` lets
them pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from synpref_dagster.curation.filtering.flip_guard import FlipGuard, all_disagree
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import Accuracy, confidence
from synpref_dagster.pairs.differences import Measured

if TYPE_CHECKING:  # Importing pandas costs as much as filtering a million rows.
    import pandas as pd

Recycle = Literal["strict", "all", "none"]
KEPT, FLIPPED, DISCARDED = "kept", "flipped", "discarded"
DECISIONS = (KEPT, FLIPPED, DISCARDED)
REASONS: Mapping[str, str] = {  # reason code -> decision it belongs to
    "human_agrees": KEPT,
    "gold_and_best_agree": KEPT,
    "gold_and_judges_agree": KEPT,
    "all_agree": KEPT,
    "human_disagrees": FLIPPED,
    "all_disagree": FLIPPED,
    "recycled_all": FLIPPED,
    "human_undecided": DISCARDED,
    "missing_reward": DISCARDED,
    "reward_tie": DISCARDED,
    "judges_undecided": DISCARDED,
    "flip_guarded": DISCARDED,
    "split_evidence": DISCARDED,
}


def decide(
    witnesses: Witnesses, *, guard: FlipGuard, recycle: Recycle = "strict"
) -> tuple[np.ndarray, np.ndarray]:
    """Decision and reason of every pair, in the order of the rules below.

    A human verdict decides; else kept when the gold RM and at least one of {best RM, judges} agree
    with the label; flipped when all three disagree and the guard lets it pass; else discarded.

    Args:
        witnesses: n pairs.
        guard: from `estimate_flip_guard`.
        recycle: `strict` as above; `none` flips only what people flipped; `all` flips the whole
            discarded pool except what people could not decide, as the paper's first experiment did.

    Returns:
        (decision, reason), object arrays of length n; `REASONS` maps one to the other.

    Raises:
        ValueError: unknown `recycle`.
    """
    if recycle not in ("strict", "all", "none"):
        raise ValueError(f"recycle is {recycle!r}, must be 'strict', 'all' or 'none'")
    gold_agrees = witnesses.gold_margin > 0
    best_agrees = witnesses.best_margin > 0
    judges_agree = witnesses.judge_label > 0
    disagree = all_disagree(witnesses)
    surest = np.maximum(confidence(witnesses.gold_margin), confidence(witnesses.best_margin))
    passes = (surest < guard.max_confidence) if recycle != "none" else np.zeros(len(surest), bool)
    # First match wins: the order of this list is the rule.
    rules: list[tuple[str, np.ndarray]] = [
        ("human_agrees", witnesses.human_seen & (witnesses.human_label > 0)),
        ("human_disagrees", witnesses.human_seen & (witnesses.human_label < 0)),
        ("human_undecided", witnesses.human_seen),
        ("all_agree", gold_agrees & best_agrees & judges_agree),
        ("gold_and_best_agree", gold_agrees & best_agrees),
        ("gold_and_judges_agree", gold_agrees & judges_agree),
        ("missing_reward", np.isnan(witnesses.gold_margin) | np.isnan(witnesses.best_margin)),
        ("reward_tie", (witnesses.gold_margin == 0) | (witnesses.best_margin == 0)),
        ("all_disagree", disagree & passes),
        ("flip_guarded", disagree),
        ("judges_undecided", ~best_agrees & (witnesses.judge_label == 0)),
    ]
    reason = np.select(
        [match for _, match in rules], [name for name, _ in rules], default="split_evidence"
    ).astype(object)
    decision = np.array([REASONS[name] for name in reason], dtype=object)
    if recycle == "all":
        swept = (decision == DISCARDED) & (reason != "human_undecided")
        decision[swept], reason[swept] = FLIPPED, "recycled_all"
    return decision, reason


def count_decisions(decisions: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Number of pairs per decision and reason, optionally also by other columns."""
    keys = [*by, "decision", "reason"]
    counts = decisions.groupby(keys, sort=True, observed=True).size()
    return counts.rename("num_pairs").reset_index()


def flip_precision_of_rules(evidence: Witnesses) -> dict[str, dict[str, Accuracy]]:
    """Precision of keeping and flipping under each witness alone and under all (paper Tab. 19).

    Args:
        evidence: pairs with a known right label in `human_label` (+1 or -1).

    Returns:
        rule -> {"kept": ..., "flipped": ...}; rules are best_rm, gold_rm, judges, consistency.
    """
    return {
        rule: {part: found.accuracy() for part, found in parts.items()}
        for rule, parts in measured_by_rule(evidence).items()
    }


def measured_by_rule(evidence: Witnesses) -> dict[str, dict[str, Measured]]:
    """Which pairs each rule keeps and flips, and where it is right to do so."""
    right = evidence.human_label
    gold, best = np.sign(evidence.gold_margin), np.sign(evidence.best_margin)
    judges = evidence.judge_label
    kept = {
        "best_rm": best > 0,
        "gold_rm": gold > 0,
        "judges": judges > 0,
        "consistency": (gold > 0) & ((best > 0) | (judges > 0)),
    }
    flipped = {
        "best_rm": best < 0,
        "gold_rm": gold < 0,
        "judges": judges < 0,
        "consistency": all_disagree(evidence),
    }
    return {
        rule: {
            KEPT: Measured(right=right > 0, counted=kept[rule]),
            FLIPPED: Measured(right=right < 0, counted=flipped[rule]),
        }
        for rule in kept
    }
