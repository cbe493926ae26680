"""Everything measured about the people of a campaign, in one long table.

How far they agree, on the whole, per asset that asked and per task category; and per annotator
quality, drift, pace and cost. What was not recorded (recorded votes know no time, an account
without a rate no cost) is NaN, never zero.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from synpref_dagster.people.agreement import (
    UNDECIDED,
    Agreement,
    annotator_table,
    by_category,
    measure,
)

QUALITY_COLUMNS = ["scope", "name", "measure", "value", "num_verdicts"]
Row = tuple[str, str, str, float, int]
ALL, ASSET, CATEGORY, ANNOTATOR = "all", "asset", "category", "annotator"
ANNOTATOR_MEASURES = ["agreement", "drift", "median_seconds", "cost_per_pair"]


def people_quality(
    answers: pd.DataFrame,
    categories: Mapping[bytes, str],
    *,
    hourly_rates: Mapping[str, float],
) -> pd.DataFrame:
    """The table: `QUALITY_COLUMNS`, one row per measure of the whole, an asset, category or person.

    Args:
        answers: a table with `AGREEMENT_COLUMNS`; `batch_id` is the asset that asked.
        categories: pair_id -> task category.
        hourly_rates: annotator -> price of an hour; people without one have no cost.
    """
    rows = _agreement_rows(ALL, ALL, measure(answers)) + _effort_rows(answers, hourly_rates)
    for asset, part in answers.groupby("batch_id", sort=True):
        rows += _agreement_rows(ASSET, str(asset), measure(part))
    for category, found in by_category(answers, categories).items():
        rows += _agreement_rows(CATEGORY, category, found)
    for row in _annotator_rows(answers, hourly_rates):
        rows += [
            (ANNOTATOR, row["annotator"], name, float(row[name]), row["num_verdicts"])
            for name in ANNOTATOR_MEASURES
        ]
    return pd.DataFrame(rows, columns=QUALITY_COLUMNS)


def wide(quality: pd.DataFrame, scope: str) -> pd.DataFrame:
    """The measures of one scope side by side: a row per name, with num_verdicts."""
    part = quality[quality["scope"] == scope]
    if part.empty:
        return pd.DataFrame(columns=["name", "num_verdicts"])
    table = part.pivot_table(
        index="name", columns="measure", values="value", sort=False, dropna=False
    )
    counts = part.groupby("name")["num_verdicts"].max()
    return table.assign(num_verdicts=counts).rename_axis(columns=None).reset_index()


def _agreement_rows(scope: str, name: str, found: Agreement) -> list[Row]:
    measures = {
        "alpha": found.alpha,
        "pairwise": found.pairwise,
        "num_pairs_seen_twice": float(found.num_pairs),
    }
    return [(scope, name, what, value, found.num_verdicts) for what, value in measures.items()]


def _effort_rows(answers: pd.DataFrame, rates: Mapping[str, float]) -> list[Row]:
    """Time and money of all people together, in all and per pair; what could not be decided."""
    num_pairs = answers["pair_id"].nunique()
    hours = answers["seconds"] / 3600
    cost = hours * answers["annotator"].map(dict(rates)).astype("float64")
    measures = {
        "num_annotators": float(answers["annotator"].nunique()),
        "undecided_share": float((answers["answer"] == UNDECIDED).mean()),
        "median_seconds": float(answers["seconds"].median()),
        "minutes_per_pair": float(60 * hours.sum(min_count=1) / num_pairs) if num_pairs else np.nan,
        "cost_per_pair": float(cost.sum(min_count=1) / num_pairs) if num_pairs else np.nan,
        "hours": float(hours.sum(min_count=1)),
        "cost": float(cost.sum(min_count=1)),
    }
    return [(ALL, ALL, name, value, len(answers)) for name, value in measures.items()]


def _annotator_rows(answers: pd.DataFrame, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    table = annotator_table(answers, hourly_rates=rates)
    if table.empty:
        return []
    dated = set(answers["annotator"][answers["created_at"].notna()])
    known = table["annotator"].isin(list(dated))
    paid = table["annotator"].isin(list(rates))
    table["drift"] = table["drift"].where(known)
    table["cost_per_pair"] = table["cost_per_pair"].where(paid)
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
