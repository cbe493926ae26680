"""Human verification: who is asked about what, and what their verdicts make of a pair.

Paper Sec. 3.2: objective, low-controversiality pairs come first, spread over the task categories;
a pair that people cannot decide is discarded everywhere and never labelled by a judge instead.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from synpref_dagster.curation.verification.corrections import EDITS_COLUMN, NO_EDITS, edits_by_pair
from synpref_dagster.pairs.accuracy import confidence
from synpref_dagster.pairs.ids import rows_in_id_order
from synpref_dagster.pairs.record import is_among

LEDGER_COLUMNS = ["pair_id", "content_id", "annotator", "verdict", "decided"]
# What a ledger says besides: the answer against the sorted order of the responses (1, -1, 0 or
# undecided), corrections as JSON, and where they are known the seconds it took and Unix time.
LEDGER_DETAILS = ["answer", EDITS_COLUMN, "seconds", "created_at"]
CONSENSUS_COLUMNS = [
    "pair_id", "label", "num_for", "num_against", "num_verdicts", "reason", EDITS_COLUMN,
]  # fmt: skip
CONTROVERSIALITY_RANK = {"low": 0, "medium": 1, "high": 2}


def prioritise(
    candidates: pd.DataFrame, *, num_pairs: int, seed: int, max_risky: int | None = None
) -> pd.DataFrame:
    """The `num_pairs` candidates people see first, stratified over task categories.

    Inside a category: risky pairs (contradictory labels), then objective ones, then low
    controversiality, then a seeded shuffle. Categories take turns in proportion to their size, and
    each has its first pair before any has its second, so that a small category is seen too.

    Args:
        candidates: columns pair_id, task_category, objectivity, controversiality, risky.
        num_pairs: size of the batch; all candidates when there are fewer.
        seed: shuffles within equal priority.
        max_risky: most pairs that come first because they are risky; None for all. Further ones
            take their place by objectivity and controversiality, like pairs that are not risky.
    """
    shuffled = candidates.sample(frac=1.0, random_state=np.random.default_rng(seed))
    ranked = shuffled.assign(
        subjective=shuffled["objectivity"] != "objective",
        controversy=shuffled["controversiality"].map(CONTROVERSIALITY_RANK),
    ).sort_values(["subjective", "controversy"], kind="stable")
    risky = ranked["risky"].to_numpy(bool)
    if max_risky is not None:
        risky = _first_by_category(ranked, risky, max_risky)
    ranked = ranked.iloc[np.argsort(~risky, kind="stable")]
    return _by_category(ranked, num_pairs)[list(candidates.columns)].reset_index(drop=True)


def mark_risk(
    pairs: pd.DataFrame, margins: np.ndarray | None = None, *, low_margin: float = 0.0
) -> pd.DataFrame:
    """The pairs with `risk`, why to look twice, and `risky` where there is any reason.

    Neither reason says which response might be better, so that people may see it.

    Args:
        pairs: column risky: the pool holds labels that contradict this one.
        margins: reward margins of the pairs under their current label, where a model gave any.
        low_margin: a pair whose probability is at most this far from one half has a low margin.
    """
    contradictory = pairs["risky"].to_numpy(bool)
    unsure = np.zeros(len(pairs), dtype=bool)
    if margins is not None:
        unsure = np.abs(confidence(margins) - 0.5) <= low_margin
    reasons = [
        ", ".join(name for name, holds in (("contradictory", one), ("low_margin", two)) if holds)
        for one, two in zip(contradictory, unsure, strict=True)
    ]
    return pairs.assign(risky=contradictory | unsure, risk=np.array(reasons, dtype=object))


def pick_seed(
    candidates: pd.DataFrame,
    *,
    num_gold: int,
    num_silver: int,
    seed: int,
    max_risky_share: float = 1.0,
    answerable: Collection[bytes] | None = None,
) -> pd.DataFrame:
    """The pairs of the seed, with `asked` = people (they become gold) or judges (silver).

    People get the first share by priority; judges a stratified draw of what is left, so that
    silver covers also what people were not shown. Content that occurs under both labels is asked
    once. The order of the candidates changes nothing. When the pool is smaller than what is asked
    for, people are served first and judges get what is left, which may be nothing.

    Args:
        candidates: pair_id, content_id, conversation_id, risky and the attributes of each pair.
        num_gold: pairs for people.
        num_silver: pairs for judges.
        seed: order among equals.
        max_risky_share: most of the people's pairs that come first because they are risky. Risky
            pairs grow with the pool, people's time does not: without a bound they were all asked.
        answerable: ids of the contents that people can answer for; None for all.
    """
    distinct = rows_in_id_order(candidates).drop_duplicates("content_id")
    for_people = distinct
    if answerable is not None:
        for_people = distinct[is_among(distinct["content_id"], answerable)]
    people = prioritise(
        for_people, num_pairs=num_gold, seed=seed, max_risky=int(max_risky_share * num_gold)
    )
    rest = distinct[~is_among(distinct["pair_id"], people["pair_id"])]
    judges = _by_category(
        rest.sample(frac=1.0, random_state=np.random.default_rng(seed)), num_silver
    )
    columns = [
        "pair_id", "content_id", "conversation_id", "task_category", "objectivity", "risky",
    ]  # fmt: skip
    picked = pd.concat(
        [people[columns].assign(asked="people"), judges[columns].assign(asked="judges")],
        ignore_index=True,
    )
    return mark_risk(picked)


def consensus(ledger: pd.DataFrame) -> pd.DataFrame:
    """One label per pair from the verdicts of several people: the strict majority, else 0.

    A label needs more than half of all who gave a verdict; ties and people who could not decide
    count against it. The ledger only grows: of several verdicts of one person on one pair the last
    one counts.

    Args:
        ledger: `LEDGER_COLUMNS`; `verdict` is +1, -1 or 0 (tie) relative to the current label,
            `decided` is False where a person could not decide.

    Returns:
        `CONSENSUS_COLUMNS`; `reason` is decided, undecidable (most people could not decide), tied
        (as many for as against, or all ties) or no_majority; `edited_attributes` are the
        corrections that hold (see `corrections.agreed_edits`).
    """
    result = vote_counts(ledger)
    undecidable = result["num_undecided"] * 2 > result["num_verdicts"]
    majority = result[["num_for", "num_against"]].max(axis=1) * 2 > result["num_verdicts"]
    balance = np.sign(result["num_for"] - result["num_against"])
    result["label"] = balance.where(majority, 0).astype("int8")
    result["reason"] = np.select(
        [undecidable, majority, balance == 0],
        ["undecidable", "decided", "tied"],
        default="no_majority",
    )
    return result.reset_index()[CONSENSUS_COLUMNS]


def vote_counts(ledger: pd.DataFrame) -> pd.DataFrame:
    """Per pair: num_for, num_against, num_undecided, num_verdicts and the agreed corrections.

    Args:
        ledger: as for `consensus`.

    Returns:
        A frame indexed by pair_id, in the order of the ledger.
    """
    latest = latest_verdicts(ledger)
    verdict = latest["verdict"].astype("int8")
    decided = latest["decided"].astype(bool)
    votes = pd.DataFrame(
        {
            "pair_id": latest["pair_id"].astype(object),
            "num_for": ((verdict > 0) & decided).astype("int64"),
            "num_against": ((verdict < 0) & decided).astype("int64"),
            "num_undecided": (~decided).astype("int64"),
            "num_verdicts": np.ones(len(latest), dtype="int64"),
        }
    )
    counts = votes.groupby("pair_id", sort=False).sum()
    edits = edits_by_pair(latest)
    counts[EDITS_COLUMN] = pd.Series(
        [edits.get(pair_id, NO_EDITS) for pair_id in counts.index], index=counts.index, dtype=object
    )
    return counts


def latest_verdicts(ledger: pd.DataFrame) -> pd.DataFrame:
    """Of several verdicts of one person on one pair the last one."""
    return ledger.drop_duplicates(["pair_id", "annotator"], keep="last")


def choose_for_people(
    retrieved: pd.DataFrame,
    labels: pd.DataFrame | None,
    *,
    policy: str,
    num_pairs: int,
    seed: int,
) -> pd.Series:
    """Which retrieved pairs people see, by the profile's policy; returns their pair ids.

    - `objective_first`: the paper's order (see `prioritise`).
    - `judge_disagreement`: least confident panel first, where a person adds most; pairs that the
      panel did not label come before all others.

    Args:
        retrieved: pair_id, task_category, objectivity, controversiality, risky of the pairs.
        labels: `LABEL_COLUMNS` of the panel; needed by judge_disagreement only.
        policy: one of the two names above.
        num_pairs: size of the batch.
        seed: order among equals.

    Raises:
        ValueError: unknown policy, or judge_disagreement without labels.
    """
    if policy == "objective_first":
        return prioritise(retrieved, num_pairs=num_pairs, seed=seed)["pair_id"]
    if policy != "judge_disagreement":
        raise ValueError(
            f"human policy is {policy!r}, must be 'objective_first' or 'judge_disagreement'"
        )
    if labels is None:
        raise ValueError("policy judge_disagreement needs the panel's labels first")
    certainty = labels["confidence"].where(labels["label"] != 0, 0.0)
    decisive = dict(zip(labels["pair_id"], certainty.astype(float), strict=True))
    shuffled = retrieved["pair_id"].sample(frac=1.0, random_state=np.random.default_rng(seed))
    order = np.argsort([decisive.get(pair_id, -1.0) for pair_id in shuffled], kind="stable")
    return shuffled.iloc[order[:num_pairs]].reset_index(drop=True)


def accuracy_by(scored: pd.DataFrame, column: str) -> dict[str, float]:
    """Share of pairs with a positive `margin` per value of a column."""
    right = (scored["margin"] > 0).groupby(scored[column], sort=True).mean()
    return {str(value): float(share) for value, share in right.items()}


def _first_by_category(ranked: pd.DataFrame, risky: np.ndarray, most: int) -> np.ndarray:
    """(n,) bool: the first `most` risky rows when categories take turns."""
    places = ranked[risky].assign(place=np.flatnonzero(risky))
    chosen = np.zeros(len(ranked), dtype=bool)
    chosen[_by_category(places, most)["place"].to_numpy(int)] = True
    return chosen


def _by_category(ranked: pd.DataFrame, num_pairs: int) -> pd.DataFrame:
    """The first `num_pairs` rows when categories take turns in proportion to their size."""
    by_category = ranked.groupby("task_category", sort=False, dropna=False)["pair_id"]
    # Place 3 of a category of 10 comes with place 30 of a category of 100.
    turn = by_category.cumcount() / by_category.transform("size")
    return ranked.iloc[np.argsort(turn.to_numpy(), kind="stable")[:num_pairs]]


PRE_VERIFICATION_COLUMNS = {"first": "check_first", "second": "check_second"}
"""Which of the sorted responses -> column with what an LLM says about it alone."""
