"""Evidence: how right labels, models and judges are, before and after.

Everything here compares with the truth of an evaluation set; nothing here is ever an input of the
curation itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from synpref_dagster.curation.filtering.decision import DISCARDED, FLIPPED, KEPT
from synpref_dagster.pairs.accuracy import Accuracy, accuracy_of
from synpref_dagster.pairs.differences import Measured
from synpref_dagster.pairs.record import PreferencePair

HUMAN_REASONS = ("human_agrees", "human_disagrees", "human_undecided")


def label_accuracy(decisions: pd.DataFrame, truth: np.ndarray) -> dict[str, Accuracy]:
    """How right labels are, before and after curation.

    Args:
        decisions: `decision` of every clean pair.
        truth: int8, +1 the source label is right, -1 wrong, 0 unknown (not counted).

    Returns:
        `before` all clean pairs under their source labels; `kept` and `flipped` under their final
        labels; `after` the two together; `whole_pool` all clean pairs with the flips applied and
        the discarded ones left as they were.
    """
    return {name: found.accuracy() for name, found in measured_labels(decisions, truth).items()}


def measured_labels(decisions: pd.DataFrame, truth: np.ndarray) -> dict[str, Measured]:
    """Which labels each part of `label_accuracy` counts, and which of them are right."""
    decision = decisions["decision"].to_numpy()
    known = truth != 0
    final = np.where(decision == FLIPPED, -truth, truth) > 0
    return {
        "before": Measured(right=truth > 0, counted=known),
        "kept": Measured(right=final, counted=known & (decision == KEPT)),
        "flipped": Measured(right=final, counted=known & (decision == FLIPPED)),
        "after": Measured(right=final, counted=known & (decision != DISCARDED)),
        "whole_pool": Measured(right=final, counted=known),
    }


def truth_by_source(decisions: pd.DataFrame, truth: np.ndarray) -> pd.DataFrame:
    """On which pairs `label_accuracy` rests.

    Args:
        decisions: source and reason of every clean pair.
        truth: see `label_accuracy`.

    Returns:
        source, num_known (clean pairs whose truth is known) and num_by_people (those of them that
        people decided), a row per source.
    """
    known = pd.DataFrame(
        {
            "source": decisions["source"].astype(str),
            "num_known": truth != 0,
            "num_by_people": (truth != 0) & ~decided_by_machine(decisions),
        }
    )
    return known.groupby("source", sort=False).sum().astype("int64").reset_index()


def decided_by_machine(decisions: pd.DataFrame) -> np.ndarray:
    """bool: pairs whose decision no person made; the filter is audited on these alone."""
    return ~decisions["reason"].isin(HUMAN_REASONS).to_numpy()


def accuracy_on(pairs: Sequence[PreferencePair], right: np.ndarray) -> dict[str, Accuracy]:
    """Accuracy on pairs whose chosen response is truly better, whole and on the length slice.

    Args:
        pairs: the pairs.
        right: bool (n,): where a model prefers the chosen response; a tie is wrong.

    Returns:
        `all`, and `against_length`: only pairs whose better response is not the longer one. A model
        that is a length detector does well on the first and badly on the second.
    """
    return {
        "all": accuracy_of(right),
        "against_length": accuracy_of(right[~longer_is_better(pairs)]),
    }


def longer_is_better(pairs: Sequence[PreferencePair]) -> np.ndarray:
    """Bool (n,): the chosen response is longer in characters; equal lengths are not."""
    return np.array([len(pair.chosen) > len(pair.rejected) for pair in pairs], dtype=bool)


def agreement(labels: pd.DataFrame) -> dict[str, Accuracy]:
    """Agreement of a panel with pairs whose chosen response is truly better.

    Args:
        labels: `label` (+1 agrees) and `objectivity`.

    Returns:
        `all`, `objective`, `subjective` over decided pairs, and `decided` among all pairs.
    """
    decided = labels["label"] != 0
    result = {"all": accuracy_of((labels.loc[decided, "label"] > 0).to_numpy())}
    for value in ("objective", "subjective"):
        chosen = decided & (labels["objectivity"] == value)
        result[value] = accuracy_of((labels.loc[chosen, "label"] > 0).to_numpy())
    result["decided"] = accuracy_of(decided.to_numpy())
    return result


def agreement_frame(
    labels_by_choice: Mapping[str, pd.DataFrame], objectivity: Mapping[bytes, str]
) -> pd.DataFrame:
    """Agreement per choice of exemplars and slice, one row each.

    Args:
        labels_by_choice: none, random, retrieved -> the panel's labels (pair_id, label).
        objectivity: pair_id -> objective or subjective.
    """
    rows: list[dict[str, object]] = []
    for choice, labels in labels_by_choice.items():
        known = labels.assign(objectivity=labels["pair_id"].map(objectivity.get))
        rows += [
            {"exemplars": choice, "slice": part, **asdict(found)}
            for part, found in agreement(known).items()
        ]
    return pd.DataFrame(rows)
