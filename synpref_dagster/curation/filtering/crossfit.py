"""Cross-fitting on gold: every gold pair gets a margin from a gold RM that did not train on it.

Folds go by conversation, so that no model scores a conversation it has seen.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from synpref_dagster.pairs.record import PreferencePair, digest

TrainAndScore = Callable[[int, Sequence[PreferencePair], Sequence[PreferencePair]], np.ndarray]
"""(fold, training pairs under their human label, pairs to score) -> margins of the latter."""


def folds_by_conversation(
    conversation_ids: Sequence[bytes], *, num_folds: int, seed: int
) -> np.ndarray:
    """int64 (n,): fold of each pair, the same for all pairs of a conversation.

    Raises:
        ValueError: fewer than two folds.
    """
    if num_folds < 2:
        raise ValueError(f"num_folds is {num_folds}; cross-fitting needs at least 2")
    return np.array(
        [
            int.from_bytes(digest(str(seed), "fold", conversation.hex())[:8], "little") % num_folds
            for conversation in conversation_ids
        ],
        dtype=np.int64,
    )


def cross_fitted_margins(
    pairs: Sequence[PreferencePair],
    labels: Sequence[int],
    *,
    num_folds: int,
    seed: int,
    train_and_score: TrainAndScore,
) -> np.ndarray:
    """Margins of gold pairs relative to their source label, each from a model of other folds.

    Args:
        pairs: gold pairs under their source label.
        labels: human label of each, +1 or -1 relative to the source label.
        num_folds: number of models.
        seed: draws the folds.
        train_and_score: trains on oriented pairs and gives margins of others.

    Returns:
        float32 (n,), NaN where a fold has nothing to train on.

    Raises:
        ValueError: not one label per pair, or a label is neither +1 nor -1.
    """
    signs = np.asarray(labels)
    if len(signs) != len(pairs) or not np.isin(signs, (-1, 1)).all():
        raise ValueError(
            f"{len(pairs)} gold pairs need one label each, +1 or -1; "
            f"got {len(signs)} labels with values {sorted({int(sign) for sign in signs})}"
        )
    folds = folds_by_conversation(
        [pair.conversation_id for pair in pairs], num_folds=num_folds, seed=seed
    )
    margins = np.full(len(pairs), np.nan, dtype=np.float32)
    for fold in range(num_folds):
        inside = np.flatnonzero(folds == fold)
        outside = np.flatnonzero(folds != fold)
        if not len(inside) or not len(outside):
            continue
        train = [
            pairs[i] if signs[i] > 0 else pairs[i].flipped()
            for i in (int(position) for position in outside)
        ]
        margins[inside] = train_and_score(fold, train, [pairs[int(i)] for i in inside])
    return margins


def best_by_accuracy(accuracies: pd.Series) -> object:
    """Index of the highest accuracy; the later one among equals (it saw more labels).

    Raises:
        ValueError: no accuracy is known, because there is no candidate or nothing to validate on.
    """
    if accuracies.isna().all():
        raise ValueError(
            f"none of {len(accuracies)} candidates has an accuracy; gold needs validation pairs"
        )
    return accuracies[::-1].idxmax()
