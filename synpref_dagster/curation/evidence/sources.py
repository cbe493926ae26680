"""The sources of a campaign side by side: what each brought, how right it is, what became of it.

One row per source, flat columns: a figure with an interval is four of them. The same table is read
by the report, by Dagster's pages and by the data card.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
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
from synpref_dagster.curation.pool.marks import CONTRADICTION
from synpref_dagster.curation.pool.selection import DUPLICATE
from synpref_dagster.pairs.accuracy import Accuracy, wilson_interval

READ = ("num_rows", "num_unfolded", "num_outside", "num_quarantined", "num_pairs")
POOL_COLUMNS = [
    "source", *READ, "quarantined_as",
    "num_duplicates", "num_dropped", "dropped_as", "num_clean", "num_contradictory",
]  # fmt: skip
"""`num_dropped` counts what cleaning dropped besides duplicates; `..._as` is JSON by reason."""
COUNT_KEYS = ["source", "measure", "value"]
Numbers = Counter[tuple[str, str, str]]
"""(source, measure, value) -> number of pairs."""
ENDS = ("value", "low", "high", "n")
SHARES = {"longer_before": LENGTH, "longer_after": LENGTH_AFTER, "judges": JUDGES, "votes": VOTES}
"""Share -> its measure: how often the longer response is preferred, and how often judges and
recorded votes of people agree with the source's label."""


def pool_rows(
    read: pd.DataFrame,
    *,
    quarantined: pd.DataFrame,
    cleaned: pd.DataFrame,
    lengths: pd.DataFrame,
) -> pd.DataFrame:
    """What each source brought to the pool: `POOL_COLUMNS` and the share `longer_before`.

    Args:
        read: source and `READ`, any number of rows per source, one at least.
        quarantined: source, reason, num_rows.
        cleaned: `selection.TALLY_SCHEMA`.
        lengths: `COUNT_SCHEMA` with the measure `length`.
    """
    counts, numbers = read.groupby("source", sort=False)[list(READ)].sum(), _numbers(lengths)
    rows = [
        {
            "source": str(source),
            **{name: int(number) for name, number in each.items()},
            "quarantined_as": _by_reason(quarantined[quarantined["source"] == source], "reason"),
            **_cleaned(cleaned[cleaned["source"] == source]),
            **_flat("longer_before", _share(numbers, str(source), LENGTH)),
        }
        for source, each in counts.to_dict("index").items()
    ]
    columns = [*POOL_COLUMNS, *(f"longer_before_{end}" for end in ENDS)]
    return pd.DataFrame(rows, columns=columns)


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
        shares = [_flat(name, _share(numbers, source, SHARES[name])) for name in SHARES]
        rows.append(
            {
                **{str(name): value for name, value in row.items()},
                **{f"num_{name}": number for name, number in decided.items()},
                **{key: value for share in shares for key, value in share.items()},
                **_flat("label_accuracy", estimate),
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
            name: {end: named.pop(f"{name}_{end}") for end in ENDS} for name in shares
        }
        for part in ("by", "covers"):
            if f"label_accuracy_{part}" in named:
                nested["label_accuracy"][part] = named.pop(f"label_accuracy_{part}")
        for name in ("quarantined_as", "dropped_as"):
            nested[name] = json.loads(named.pop(name))
        report.append({**named, **nested})
    return report


def together(rows: Sequence[Mapping[str, Any]], share: str) -> Accuracy:
    """A share over all sources, from rows of `as_report`."""
    found = [row[share] for row in rows if share in row and row[share]["n"]]
    total = sum(int(each["n"]) for each in found)
    for_it = round(sum(each["value"] * each["n"] for each in found))
    return _accuracy(for_it, total)


def _cleaned(tally: pd.DataFrame) -> dict[str, Any]:
    kept = tally["kept"].astype(bool)
    dropped = tally[~kept]
    repeated = dropped["why"] == DUPLICATE
    others = dropped[~repeated]
    contradicted = tally[kept & (tally["why"] == CONTRADICTION)]
    return {
        "num_duplicates": int(dropped["num_pairs"][repeated].sum()),
        "num_dropped": int(others["num_pairs"].sum()),
        "dropped_as": _by_reason(others.rename(columns={"num_pairs": "num_rows"}), "why"),
        "num_clean": int(tally["num_pairs"][kept].sum()),
        "num_contradictory": int(contradicted["num_pairs"].sum()),
    }


def _by_reason(rows: pd.DataFrame, column: str) -> str:
    totals = rows.groupby(column)["num_rows"].sum().sort_values(ascending=False, kind="stable")
    return json.dumps({str(reason): int(number) for reason, number in totals.items()})


def _share(numbers: Numbers, source: str, measure: str) -> Accuracy:
    """How often `for` among `for` and `against`."""
    for_it, against = (numbers[source, measure, said] for said in (FOR, AGAINST))
    return _accuracy(for_it, for_it + against)


def _accuracy(for_it: int, total: int) -> Accuracy:
    low, high = wilson_interval(for_it, total)
    return Accuracy(for_it / total if total else float("nan"), low, high, total)


def _numbers(counts: pd.DataFrame) -> Numbers:
    keys = zip(*(counts[name].astype(str) for name in COUNT_KEYS), strict=True)
    return Counter(dict(zip(keys, counts["num_pairs"].astype(int), strict=True)))


def _flat(name: str, figure: Accuracy | Estimate) -> dict[str, Any]:
    return {f"{name}_{end}": getattr(figure, end) for end in ENDS}
