"""How far people agree: Krippendorff's alpha, pairwise agreement, quality, drift, time and cost.

Nominal categories, missing values allowed: a pair that fewer than two people judged says nothing
about agreement and is left out. Answers are compared against the sorted order of the responses,
so that the side on which a response was shown cannot matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from synpref_dagster.people.ledger.answers import Answer

UNDECIDED = "undecided"
NUM_WINDOWS = 4
AGREEMENT_COLUMNS = [
    "batch_id", "pair_id", "annotator", "answer", "seconds", "created_at",
]  # fmt: skip


def answer_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """Verdicts that count as a table with `AGREEMENT_COLUMNS`; `answer` is 1, -1, 0 or undecided.

    Args:
        answers: one per annotator and pair (see `live_answers`).
    """
    rows = [
        {
            "batch_id": answer.batch_id,
            "pair_id": answer.pair_id,
            "annotator": answer.annotator,
            "answer": sorted_answer(answer),
            "seconds": answer.seconds,
            "created_at": answer.created_at,
        }
        for answer in answers
    ]
    return pd.DataFrame(rows, columns=AGREEMENT_COLUMNS)


def sorted_answer(answer: Answer) -> str:
    """What somebody said against the sorted order of the responses: 1, -1, 0 or undecided."""
    return UNDECIDED if answer.sorted_sign is None else str(answer.sorted_sign)


def answer_counts(answers: pd.DataFrame) -> np.ndarray:
    """int64 (pairs, answers): how many people gave each answer to each pair judged twice or more.

    Args:
        answers: columns pair_id and answer, one row per person and pair.
    """
    if not len(answers):
        return np.zeros((0, 0), dtype=np.int64)
    counts = pd.crosstab(answers["pair_id"], answers["answer"]).to_numpy(dtype=np.int64)
    return counts[counts.sum(axis=1) >= 2]


def krippendorff_alpha(counts: np.ndarray) -> float:
    """Krippendorff's alpha for nominal data with missing values; NaN when it is undefined.

    1 is perfect agreement, 0 what chance gives. Undefined without a pair judged twice, or when
    everybody always gave the same answer.

    Args:
        counts: int (units, values), each row the answers of one unit; rows under 2 are left out.
    """
    counts = np.asarray(counts, dtype=np.float64)
    counts = counts[counts.sum(axis=1) >= 2] if counts.size else counts
    if not counts.size:
        return float("nan")
    per_unit = counts.sum(axis=1)
    total = per_unit.sum()
    observed = float(((per_unit**2 - (counts**2).sum(axis=1)) / (per_unit - 1)).sum() / total)
    by_value = counts.sum(axis=0)
    expected = float((total**2 - (by_value**2).sum()) / (total * (total - 1)))
    return 1 - observed / expected if expected > 0 else float("nan")


def pairwise_agreement(counts: np.ndarray) -> float:
    """Share of equal answers among all couples of people who judged the same pair; NaN if none."""
    counts = np.asarray(counts, dtype=np.float64)
    if not counts.size:
        return float("nan")
    per_unit = counts.sum(axis=1)
    couples = float((per_unit * (per_unit - 1)).sum())
    equal = float((counts * (counts - 1)).sum())
    return equal / couples if couples else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement on a set of pairs."""

    alpha: float
    """Krippendorff's alpha."""
    pairwise: float
    """Share of couples of people who gave the same answer."""
    num_pairs: int
    """Pairs that at least two people judged."""
    num_verdicts: int
    """Verdicts on those pairs."""


def measure(answers: pd.DataFrame) -> Agreement:
    """Agreement of a table with `AGREEMENT_COLUMNS`."""
    counts = answer_counts(answers)
    return Agreement(
        alpha=krippendorff_alpha(counts),
        pairwise=pairwise_agreement(counts),
        num_pairs=len(counts),
        num_verdicts=int(counts.sum()),
    )


def by_category(answers: pd.DataFrame, categories: Mapping[Any, str]) -> dict[str, Agreement]:
    """Agreement per task category.

    Args:
        answers: a table with `AGREEMENT_COLUMNS`.
        categories: pair_id -> task category.
    """
    category = answers["pair_id"].map(dict(categories)).fillna("unknown")
    return {str(name): measure(part) for name, part in answers.groupby(category, sort=True)}


def annotator_table(
    answers: pd.DataFrame, *, hourly_rates: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Quality, pace and cost per annotator, and how the agreement with others moved over time.

    Args:
        answers: a table with `AGREEMENT_COLUMNS`.
        hourly_rates: annotator -> price of an hour; without one the cost is 0.

    Returns:
        One row per annotator: num_verdicts, agreement (share of others' answers to the same pairs
        that equal theirs, NaN alone), drift (agreement in the last quarter of their answers less
        that in the first), median_seconds, cost_per_pair.
    """
    rates = hourly_rates or {}
    with_peers = answers.assign(agreement=_agreement_with_others(answers))
    rows: list[dict[str, Any]] = []
    for name, own in with_peers.sort_values("created_at", kind="stable").groupby("annotator"):
        place = np.arange(len(own)) * NUM_WINDOWS // max(len(own), 1)
        windows = own["agreement"].groupby(place).mean()
        rows.append(
            {
                "annotator": str(name),
                "num_verdicts": len(own),
                "agreement": own["agreement"].mean(),
                "drift": windows.iloc[-1] - windows.iloc[0] if len(windows) > 1 else np.nan,
                "median_seconds": own["seconds"].median(),
                "cost_per_pair": own["seconds"].mean() * rates.get(str(name), 0.0) / 3600,
            }
        )
    return pd.DataFrame(rows)


def gate(agreement: Agreement, *, floor: float | None, min_pairs: int) -> str | None:
    """Why gold must not be built from these answers, or None when nothing speaks against it.

    Args:
        agreement: of the whole batch.
        floor: alpha below this blocks; None for no gate.
        min_pairs: a gate needs at least this many doubly annotated pairs to judge by.
    """
    if floor is None:
        return None
    if agreement.num_pairs < min_pairs:
        return (
            f"agreement cannot be judged: {agreement.num_pairs} pairs were seen by two people, "
            f"at least {min_pairs} are needed; raise people.double_share"
        )
    # An alpha that is undefined because everybody always agreed on one answer does not block.
    if agreement.alpha >= floor or (np.isnan(agreement.alpha) and agreement.pairwise == 1.0):
        return None
    return (
        f"people agree too little: Krippendorff's alpha is {agreement.alpha:.3f} on "
        f"{agreement.num_pairs} pairs, the floor is {floor:.3f}; improve the guideline or lower "
        "people.alpha_floor, then let people answer again"
    )


def _agreement_with_others(answers: pd.DataFrame) -> np.ndarray:
    """Per row: share of the other people's answers to the same pair that equal this one."""
    pair_size = answers.groupby("pair_id")["answer"].transform("size").to_numpy(float)
    same = answers.groupby(["pair_id", "answer"])["answer"].transform("size").to_numpy(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pair_size > 1, (same - 1) / (pair_size - 1), np.nan)
