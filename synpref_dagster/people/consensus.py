"""What several people's answers make of a pair: the majority, or a model that weighs the people.

The model is Dawid and Skene's (1979), from crowd-kit: it learns from the pairs that several people
saw how often each of them is right, and lets the better ones count for more.
"""

from typing import Literal

import numpy as np
import pandas as pd

from synpref_dagster.curation.verification.people import (
    CONSENSUS_COLUMNS,
    consensus,
    latest_verdicts,
    vote_counts,
)

ConsensusRule = Literal["majority", "dawid_skene"]
NUM_ROUNDS = 100
UNDECIDED = "undecided"
FOR, AGAINST, TIE = "1", "-1", "0"
_MIRRORED = {FOR: AGAINST, AGAINST: FOR}


def labels_by_rule(ledger: pd.DataFrame, *, rule: ConsensusRule) -> pd.DataFrame:
    """One label per pair, `CONSENSUS_COLUMNS`, by the profile's rule.

    Args:
        ledger: `LEDGER_COLUMNS`, one row per person and pair; the last one of several counts.
        rule: `majority` (more than half of all who gave an answer), or `dawid_skene`.

    Raises:
        ValueError: dawid_skene without the package crowd-kit.
    """
    if rule == "majority" or not len(ledger):
        return consensus(ledger)
    counts = vote_counts(ledger)
    certainty, _ = _fitted(ledger)
    certainty = certainty.loc[counts.index]
    decided = certainty[[FOR, AGAINST]].max(axis=1) > 0.5
    balance = np.sign((certainty[FOR] - certainty[AGAINST]).round(9))
    counts["label"] = balance.where(decided, 0).astype("int8")
    counts["reason"] = np.select(
        [decided, certainty[UNDECIDED] > 0.5, (certainty[TIE] > 0.5) | (balance == 0)],
        ["decided", "undecidable", "tied"],
        default="no_majority",
    )
    return counts.reset_index()[CONSENSUS_COLUMNS]


def annotator_skill(ledger: pd.DataFrame) -> dict[str, float]:
    """Annotator -> how often the model expects them to name the better response."""
    if not len(ledger):
        return {}
    _, errors = _fitted(ledger)
    right = errors[FOR].xs(FOR, level="label")
    return {str(name): float(value) for name, value in right.sort_index().items()}


def _fitted(ledger: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Certainty of each answer per pair, and what each annotator says given the true answer.

    Every pair is given twice, the second time with the sides swapped. The model then cannot learn
    that source labels are mostly right, and a pair's label does not depend on its source label.
    """
    try:
        from crowdkit.aggregation import DawidSkene
    except ImportError as error:
        raise ValueError(
            "people.consensus is 'dawid_skene', which needs crowd-kit: "
            "pip install 'synpref-dagster[crowd]'"
        ) from error
    latest = latest_verdicts(ledger)
    names = [pair_id.hex() for pair_id in latest["pair_id"]]
    said = (
        latest["verdict"].astype(int).astype(str).where(latest["decided"].astype(bool), UNDECIDED)
    )
    answers = pd.DataFrame(
        {
            "task": [*(f"{name}+" for name in names), *(f"{name}-" for name in names)],
            "worker": [*latest["annotator"], *latest["annotator"]],
            "label": [*said, *(_MIRRORED.get(each, each) for each in said)],
        }
    )
    model = DawidSkene(n_iter=NUM_ROUNDS).fit(answers)
    certainty: pd.DataFrame = model.probas_
    certainty = certainty.reindex(columns=[FOR, AGAINST, TIE, UNDECIDED], fill_value=0.0)
    certainty = certainty[certainty.index.str.endswith("+")]
    ids = [bytes.fromhex(task[:-1]) for task in certainty.index]
    return certainty.set_axis(pd.Index(ids, dtype=object)), model.errors_
