"""Counting: verdicts to a vote, votes to a label.

The panel decides by majority, or by weights that say how much each judge's word is worth (see
`weighing`). A tie is no label, whoever voted.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

CHOICE_SIGNS = {"candidate_1": 1.0, "candidate_2": -1.0, "tie": 0.0, "abstain": 0.0}
VOTE_COLUMNS = ["pair_id", "judge", "vote", "score", "num_verdicts", "num_abstained"]
LABEL_COLUMNS = ["pair_id", "label", "confidence", "num_for", "num_against", "reason"]
EVEN = 1e-9  # weighted votes closer than this are a tie: the rest is rounding


def votes_from_verdicts(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One vote per (pair, judge): the sign of the verdicts' mean over both orders.

    A judge that answered in only one order abstains, for its position bias cannot be told from
    its preference. Columns in: `VERDICT_COLUMNS`; out: `VOTE_COLUMNS`.
    """
    frame = verdicts.assign(value=_signed(verdicts), answered=verdicts["choice"] != "abstain")
    frame["value"] = frame["value"].where(frame["answered"])
    by_order = frame.groupby(["pair_id", "judge", "chosen_first"], sort=False)["value"].mean()
    score = by_order.unstack("chosen_first").reindex(columns=[True, False])
    score = score.mean(axis=1, skipna=False).rename("score")
    counts = frame.groupby(["pair_id", "judge"], sort=False)["answered"].agg(["sum", "size"])
    votes = counts.join(score).reset_index()
    votes["score"] = votes["score"].fillna(0.0).astype("float32")
    votes["vote"] = np.sign(votes["score"]).astype("int8")
    votes["num_verdicts"] = votes["sum"].astype("int32")
    votes["num_abstained"] = (votes["size"] - votes["sum"]).astype("int32")
    return votes[VOTE_COLUMNS]


def labels_from_votes(
    votes: pd.DataFrame, weights: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """One label per pair: what most of the votes say, 0 with a reason when they say nothing.

    `confidence` is the absolute mean score over judges, in [0, 1]. Columns out: `LABEL_COLUMNS`.

    Args:
        votes: `VOTE_COLUMNS`.
        weights: judge -> what its vote counts; None lets each count the same.

    Raises:
        ValueError: a judge has no weight, or a negative one.
    """
    weight = _weights(votes["judge"], weights)
    frame = votes.assign(
        num_for=votes["vote"] > 0,
        num_against=votes["vote"] < 0,
        weight=weight,
        balance=weight * votes["vote"],
        heard=weight * (votes["vote"] != 0),
        score=weight * votes["score"].astype("float64"),
    )
    columns = ["num_for", "num_against", "weight", "balance", "heard", "score"]
    labels = frame.groupby("pair_id", sort=False)[columns].sum()
    balance = labels["balance"].where(labels["balance"].abs() > EVEN, 0.0)
    labels["label"] = np.sign(balance).astype("int8")
    share = labels["score"].abs() / labels["weight"].where(labels["weight"] > 0)
    labels["confidence"] = share.fillna(0.0).astype("float32")
    voted = (labels["num_for"] + labels["num_against"]) > 0
    labels["reason"] = np.select(
        [labels["label"] != 0, ~voted, labels["heard"] == 0],
        ["majority" if weights is None else "weighted_majority", "all_abstained", "no_weight"],
        "votes_tied",
    )
    labels = labels.astype({"num_for": "int32", "num_against": "int32"}).reset_index()
    return labels[LABEL_COLUMNS]


def panel_verdicts(
    verdicts: pd.DataFrame, weights: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """What the panel says round by round, as if it were one judge: for audits of the panel.

    A round is the k-th sample that each judge gave in one order of the candidates. Its choice is
    what most of the judges say; `abstain` where none answered, `tie` where they balance.

    Args:
        verdicts: `VERDICT_COLUMNS` of several judges.
        weights: as for `labels_from_votes`.

    Returns:
        pair_id, chosen_first, choice.
    """
    ordered = verdicts.sort_values("sample", kind="stable")
    weight = _weights(ordered["judge"], weights)
    by_order = ["pair_id", "judge", "chosen_first"]
    frame = ordered.assign(
        round=ordered.groupby(by_order, sort=False).cumcount(),
        balance=weight * ordered["choice"].map(CHOICE_SIGNS).astype("float64"),
        answered=ordered["choice"] != "abstain",
    )
    keys = ["pair_id", "chosen_first", "round"]
    said = frame.groupby(keys, sort=False)[["balance", "answered"]].sum().reset_index()
    said["choice"] = np.select(
        [said["answered"] == 0, said["balance"] > EVEN, said["balance"] < -EVEN],
        ["abstain", "candidate_1", "candidate_2"],
        "tie",
    )
    return said[["pair_id", "chosen_first", "choice"]]


def _weights(judges: pd.Series, weights: Mapping[str, float] | None) -> pd.Series:
    if weights is None:
        return pd.Series(1.0, index=judges.index)
    found = judges.map(dict(weights)).astype("float64")
    if (bad := judges[~(found >= 0)]).size:
        raise ValueError(
            f"judges {sorted(set(bad))} need a weight of 0 or more each, got {dict(weights)}"
        )
    return found


def _signed(verdicts: pd.DataFrame) -> np.ndarray:
    first = np.where(verdicts["chosen_first"], 1.0, -1.0)
    return first * verdicts["choice"].map(CHOICE_SIGNS).to_numpy(dtype=float)
