"""The method's claims, each held against the interval of the number measured for it.

A claim "A beats B" is about the difference of the two on the same items. It held when the whole
interval of that difference reaches the number it needs, it did not hold when the whole interval
misses it, and it is not decided when the interval has that number inside: then n is too small.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any, Literal

import numpy as np
import pandas as pd

from synpref_dagster.curation.evidence.label_accuracy import measured_labels
from synpref_dagster.curation.filtering.decision import FLIPPED, KEPT, measured_by_rule
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.differences import (
    Difference,
    Measured,
    difference,
    everywhere,
    least,
    share,
)

SHARES, A_COIN = ("kept_is_right", "flipped_is_right"), 0.5
CLAIMS = {
    "labels_improve": "curated labels are right more often than the pool's",
    "filtered_beats_original": "an RM trained on kept pairs beats one on the original labels",
    "not_a_size_effect": "an RM on kept pairs beats one on as many original pairs",
    "corrected_beats_original": "an RM on kept and flipped pairs beats one on original labels",
    "corrected_beats_filtered": "adding flipped pairs beats kept pairs alone",
    "kept_is_right": "labels kept by consistency are right",
    "flipped_is_right": "labels flipped by consistency are right",
    "both_keep_better_than_one": "consistency keeps more precisely than either RM alone",
    "both_flip_better_than_one": "consistency flips more precisely than either RM alone",
    "gold_keeps_better_than_best": "the gold RM keeps more precisely than the best RM",
    "retrieved_beats_random": "retrieved exemplars help judges more than random ones",
    "random_beats_none": "random exemplars help judges more than none",
    "iterations_improve": "the last iteration's RM beats the seed's RM",
}
BEATEN = {  # claim -> the training set that wins, and the one it beats
    "filtered_beats_original": ("filtered", "original"),
    "not_a_size_effect": ("filtered", "original_equal_size"),
    "corrected_beats_original": ("filtered_corrected", "original"),
    "corrected_beats_filtered": ("filtered_corrected", "filtered"),
}
DIFFERENCE = "difference"  # slice or measure of the rows of an evidence table that are claims
NO_CLAIM = ""  # their column `claim` in all other rows
UNKNOWN = Difference(value=nan, low=nan, high=nan, n=0)
Outcome = Literal["held", "not held", "not decided", "not measured"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A sentence of the method, the number measured for it, and the number it needs."""

    name: str
    claim: str
    value: float
    low: float
    high: float
    n: int
    threshold: float

    @property
    def outcome(self) -> Outcome:
        """What the interval says; no gain at all is no support, whatever the threshold."""
        if isnan(self.value):
            return "not measured"
        if self.low > 0.0 and self.low >= self.threshold:
            return "held"
        if self.high <= 0.0 or self.high < self.threshold:
            return "not held"
        return "not decided"


def model_claims(right: Mapping[str, np.ndarray]) -> dict[str, Difference]:
    """What training sets are worth; a claim about a set that was not trained on is not measured.

    Args:
        right: training set -> bool (n,), whether its model is right about each test pair.
    """
    return {
        name: difference(everywhere(right[winner]), everywhere(right[beaten]))
        for name, (winner, beaten) in BEATEN.items()
        if winner in right and beaten in right
    }


def iteration_claims(right: Sequence[np.ndarray]) -> dict[str, Difference]:
    """What the iterations are worth.

    Args:
        right: for each iteration bool (n,), whether its model is right about each test pair.
    """
    return {"iterations_improve": difference(everywhere(right[-1]), everywhere(right[0]))}


def label_claims(decisions: pd.DataFrame, truth: np.ndarray) -> dict[str, Difference]:
    """What curation is worth to the labels; see `evidence.label_accuracy` for the arguments."""
    labels = measured_labels(decisions, truth)
    return {"labels_improve": difference(labels["after"], labels["before"])}


def rule_claims(evidence: Witnesses) -> dict[str, Difference]:
    """What asking several witnesses is worth.

    Args:
        evidence: pairs with a known right label in `human_label` (+1 or -1).
    """
    kept, flipped = (
        {rule: parts[part] for rule, parts in measured_by_rule(evidence).items()}
        for part in (KEPT, FLIPPED)
    )
    return {
        "kept_is_right": share(kept["consistency"]),
        "flipped_is_right": share(flipped["consistency"]),
        "both_keep_better_than_one": _over_both(kept),
        "both_flip_better_than_one": _over_both(flipped),
        "gold_keeps_better_than_best": difference(kept["gold_rm"], kept["best_rm"]),
    }


def judge_claims(labels_by_choice: Mapping[str, pd.DataFrame]) -> dict[str, Difference]:
    """What exemplars are worth to judges, on pairs whose chosen response is truly better.

    Args:
        labels_by_choice: none, random, retrieved -> the panel's labels (pair_id, label).
    """
    labels = {
        choice: dict(zip(found["pair_id"], found["label"].astype(int), strict=True))
        for choice, found in labels_by_choice.items()
    }
    ids = sorted(set().union(*labels.values()))
    by_choice = {
        choice: np.array([found.get(pair_id, 0) for pair_id in ids], dtype=np.int8)
        for choice, found in labels.items()
    }
    judged = {
        choice: Measured(right=found > 0, counted=found != 0) for choice, found in by_choice.items()
    }
    return {
        "retrieved_beats_random": difference(judged["retrieved"], judged["random"]),
        "random_beats_none": difference(judged["random"], judged["none"]),
    }


def claim_rows(found: Mapping[str, Difference]) -> list[dict[str, Any]]:
    """Measured claims as rows of an evidence table."""
    return [{"claim": name, **asdict(each)} for name, each in found.items()]


def claims_in(tables: Iterable[pd.DataFrame]) -> dict[str, Difference]:
    """The measured claims among the rows of evidence tables."""
    return {
        str(row["claim"]): Difference(
            value=float(row["value"]),
            low=float(row["low"]),
            high=float(row["high"]),
            n=int(row["n"]),
        )
        for table in tables
        for row in table[table["claim"] != NO_CLAIM].to_dict("records")
    }


def campaign_claims(
    found: Mapping[str, Difference], *, thresholds: Mapping[str, float]
) -> list[Claim]:
    """Every claim of the method, with what was measured for it in this campaign.

    Args:
        found: claim name -> what was measured; a claim that is missing was not.
        thresholds: claim name -> the number it needs; without one a share of right labels needs to
            be above what a coin reaches, and a difference above nothing.
    """
    return [
        Claim(
            name=name,
            claim=sentence,
            threshold=float(thresholds.get(name, A_COIN if name in SHARES else 0.0)),
            **asdict(found.get(name, UNKNOWN)),
        )
        for name, sentence in CLAIMS.items()
    ]


def _over_both(rules: Mapping[str, Measured]) -> Difference:
    alone = (rules["best_rm"], rules["gold_rm"])
    return least(difference(rules["consistency"], each) for each in alone)
