"""The three witnesses of stage 2 and the people, each speaking about a pair (paper Sec. 3.3).

All of them speak relative to the source label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synpref_dagster.pairs.record import PreferencePair, id_index

if TYPE_CHECKING:  # Importing pandas costs as much as filtering a million rows.
    import pandas as pd
CONFIDENT = 0.5  # Sec. 3.3: pairs with p > 0.5 under the best RM need no new annotation


@dataclass(frozen=True, kw_only=True, slots=True)
class Witnesses:
    """What is known about n pairs, each relative to the pair's source label."""

    gold_margin: np.ndarray
    """float32 (n,): margin under the gold RM, NaN when missing."""
    best_margin: np.ndarray
    """float32 (n,): margin under the best RM, NaN when missing."""
    judge_label: np.ndarray
    """int8 (n,): +1 agree, -1 disagree, 0 no label."""
    human_label: np.ndarray
    """int8 (n,): +1, -1, or 0 when people could not decide."""
    human_seen: np.ndarray
    """bool (n,): whether people saw the pair at all."""


def human_labels(pairs: Sequence[PreferencePair], gold: pd.DataFrame) -> list[int]:
    """Human label of each gold pair relative to its source label, in the order of `pairs`."""
    labels = dict(zip(gold["pair_id"], gold["label"].astype(int), strict=True))
    return [labels[pair.pair_id] for pair in pairs]


def witness_frame(
    pairs: Sequence[PreferencePair],
    gold: pd.DataFrame,
    *,
    judged: pd.DataFrame,
    best_margin: np.ndarray,
    gold_margin: np.ndarray,
) -> pd.DataFrame:
    """What people and the three witnesses say about gold pairs, one row per pair.

    Args:
        pairs: gold pairs under their source label.
        gold: pair_id, label of (at least) those pairs.
        judged: pair_id, label of the panel for those pairs.
        best_margin: float32 (n,) margins under the best RM, in the order of `pairs`.
        gold_margin: float32 (n,) cross-fitted margins under the gold RM.
    """
    import pandas as pd

    panel = dict(zip(judged["pair_id"], judged["label"].astype(int), strict=True))
    return pd.DataFrame(
        {
            "pair_id": id_index(pair.pair_id for pair in pairs),
            "human_label": np.array(human_labels(pairs, gold), dtype=np.int8),
            "gold_margin": gold_margin,
            "best_margin": best_margin,
            "judge_label": np.array([panel.get(p.pair_id, 0) for p in pairs], dtype=np.int8),
        }
    )


def witnesses_from_frame(frame: pd.DataFrame) -> Witnesses:
    """Witnesses of pairs that people decided, from the columns of `witness_frame`."""
    return Witnesses(
        gold_margin=frame["gold_margin"].to_numpy(),
        best_margin=frame["best_margin"].to_numpy(),
        judge_label=frame["judge_label"].to_numpy(),
        human_label=frame["human_label"].to_numpy(),
        human_seen=np.ones(len(frame), dtype=bool),
    )
