"""Calibration: how often a reward model agrees with people where it is so sure (paper Sec. 3.3)."""

from typing import Any

import numpy as np

from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import accuracy_of, confidence

ENDS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the bins of confidence; the last one holds 1."""


def calibration(evidence: Witnesses) -> dict[str, list[dict[str, Any]]]:
    """Witness (gold, best) -> one row per bin that holds pairs, from unsure to sure.

    Args:
        evidence: gold pairs that the models did not learn from; those that people could not decide
            and those without a reward are left out.

    Returns:
        Rows of `from`, `to` (ends of the bin), `confidence` (the mean in it: of the side that the
        model prefers, so 0.5 at least), and value, low, high, n of agreement with people.
    """
    margins = {"gold": evidence.gold_margin, "best": evidence.best_margin}
    return {name: _rows(np.asarray(each), evidence.human_label) for name, each in margins.items()}


def _rows(margin: np.ndarray, people: np.ndarray) -> list[dict[str, Any]]:
    known = np.isfinite(margin) & (people != 0)
    margin, people = margin[known].astype(float), people[known]
    sure = confidence(np.abs(margin))
    right = np.sign(margin) == people
    place = np.clip(np.digitize(sure, ENDS) - 1, 0, len(ENDS) - 2)
    rows = []
    for number in np.unique(place).tolist():
        inside = place == number
        found = accuracy_of(right[inside])
        rows.append(
            {
                "from": ENDS[number],
                "to": ENDS[number + 1],
                "confidence": float(sure[inside].mean()),
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "n": found.n,
            }
        )
    return rows
