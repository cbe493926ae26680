"""The sources of a campaign side by side: what each brought, how right it is, what became of it.

One row per source, flat columns: a figure with an interval is four of them. The same table is read
by the report, by Dagster's pages and by the data card.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd

from synpref_dagster.curation.evidence.source_accuracy import UNKNOWN, Cells, Estimate
from synpref_dagster.curation.evidence.source_counts import (
    AGAINST,
    BEST_RM,
    CELL,
    DECISION,
    FOR,
    JUDGES,
    LENGTH,
    LENGTH_AFTER,
    VOTES,
)
from synpref_dagster.curation.filtering.decision import DECISIONS
from synpref_dagster.curation.pool.by_source import ENDS, LONGER, flat, share_of
from synpref_dagster.pairs.accuracy import Accuracy

COUNT_KEYS = ["source", "measure", "value"]
Numbers = Counter[tuple[str, str, str]]
"""(source, measure, value) -> number of pairs."""
SHARES = {LONGER: LENGTH, "longer_after": LENGTH_AFTER, "judges": JUDGES, "votes": VOTES}
"""Share -> its measure: how often the longer response is preferred, and how often judges and
recorded votes of people agree with the source's label."""


def shares(counts: pd.DataFrame, measure: str) -> dict[str, Accuracy]:
    """Source -> how often a measure of `COUNT_SCHEMA` is `for` among `for` and `against`."""
    numbers = _numbers(counts)
    return {source: _share(numbers, source, measure) for source in map(str, set(counts["source"]))}


def source_rows(
    pool: pd.DataFrame, counts: pd.DataFrame, estimates: Mapping[str, Estimate]
) -> pd.DataFrame:
    """`pool_rows` with what was decided about each source, and how right its labels are.

    Args:
        pool: from `pool_rows`.
        counts: `COUNT_SCHEMA`.
        estimates: source -> how right its own labels are.
    """
    rows, numbers = [], _numbers(counts)
    for row in pool.to_dict("records"):
        source = str(row["source"])
        estimate = estimates.get(source, UNKNOWN)
        decided = {name: numbers[source, DECISION, name] for name in DECISIONS}
        shares = [flat(name, _share(numbers, source, SHARES[name])) for name in SHARES]
        rows.append(
            {
                **{str(name): value for name, value in row.items()},
                **{f"num_{name}": number for name, number in decided.items()},
                **{key: value for share in shares for key, value in share.items()},
                **flat("label_accuracy", estimate),
                "label_accuracy_by": estimate.by,
                "label_accuracy_covers": estimate.covers,
            }
        )
    return pd.DataFrame(rows)


def cells_in(counts: pd.DataFrame) -> Cells:
    """(source, cell) -> number of clean pairs."""
    found = counts[counts["measure"] == CELL]
    return {
        (str(row["source"]), str(row["value"])): int(row["num_pairs"])
        for row in found.to_dict("records")
    }


def model_agreement(counts: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Source -> pairs whose label the best reward model agrees and disagrees with."""
    numbers = _numbers(counts)
    return {
        source: (numbers[source, BEST_RM, FOR], numbers[source, BEST_RM, AGAINST])
        for source in dict.fromkeys(map(str, counts["source"]))
    }


def summed(counts: pd.DataFrame) -> pd.DataFrame:
    """Counts of many shards as those of the pool."""
    return counts.groupby(COUNT_KEYS, sort=False)["num_pairs"].sum().reset_index()


def as_report(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as the report has them: figures with an interval and counts by reason nested."""
    report = []
    for row in rows.to_dict("records"):
        named = {str(name): value for name, value in row.items()}
        shares = [name for name in (*SHARES, "label_accuracy") if f"{name}_value" in named]
        nested: dict[str, Any] = {
            name: {end: _known(named.pop(f"{name}_{end}")) for end in ENDS} for name in shares
        }
        for part in ("by", "covers"):
            if f"label_accuracy_{part}" in named:
                nested["label_accuracy"][part] = named.pop(f"label_accuracy_{part}")
        for name in ("quarantined_as", "dropped_as"):
            nested[name] = json.loads(named.pop(name))
        report.append({**named, **nested})
    return report


def _known(number: float) -> float | None:
    return None if isnan(number) else number


def together(rows: Sequence[Mapping[str, Any]], share: str) -> Accuracy:
    """A share over all sources, from rows of `as_report`."""
    found = [row[share] for row in rows if share in row and row[share]["n"]]
    total = sum(int(each["n"]) for each in found)
    for_it = round(sum(each["value"] * each["n"] for each in found))
    return share_of(for_it, total)


def _share(numbers: Numbers, source: str, measure: str) -> Accuracy:
    """How often `for` among `for` and `against`."""
    for_it, against = (numbers[source, measure, said] for said in (FOR, AGAINST))
    return share_of(for_it, for_it + against)


def _numbers(counts: pd.DataFrame) -> Numbers:
    keys = zip(*(counts[name].astype(str) for name in COUNT_KEYS), strict=True)
    return Counter(dict(zip(keys, counts["num_pairs"].astype(int), strict=True)))
