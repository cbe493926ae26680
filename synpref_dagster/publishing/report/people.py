"""The people on the report page: how far they agree, and what each of their verdicts took."""

from collections.abc import Callable, Mapping
from typing import Any

from synpref_dagster.publishing.report.tables import NOT_MEASURED, Cell, FigureTable, points, share

Measures = Mapping[str, Mapping[str, Any]]
Columns = Mapping[str, tuple[str, Callable[[float], str]]]


def people_tables(people: Mapping[str, Measures] | None) -> list[FigureTable]:
    """The tables of a report's `people`: the whole, by annotator, by asset, by task category.

    Args:
        people: scope -> name -> measure -> value; num_verdicts is among the measures.
    """
    found = people or {}
    return [
        _table(title, found[scope], columns)
        for scope, (title, columns) in SCOPES.items()
        if found.get(scope)
    ]


def _table(title: str, named: Measures, columns: Columns) -> FigureTable:
    known = [name for name in columns if any(row.get(name) is not None for row in named.values())]
    return FigureTable(
        title=title,
        columns=[columns[name][0] for name in known],
        rows=[
            (
                name,
                [_cell(row.get(measure), columns[measure][1]) for measure in known],
            )
            for name, row in named.items()
        ],
    )


def _cell(value: float | None, shown: Callable[[float], str]) -> Cell:
    return Cell(text=NOT_MEASURED if value is None else shown(value))


def _alpha(value: float) -> str:
    return f"{value:.3f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _seconds(value: float) -> str:
    return f"{value:.0f} s"


def _minutes(value: float) -> str:
    return f"{value:.1f} min"


def _hours(value: float) -> str:
    return f"{value:.2f} h"


def _money(value: float) -> str:
    return f"{value:.2f}"


_COUNTED: Columns = {"num_verdicts": ("verdicts", _count)}
_AGREEMENT: Columns = {
    "alpha": ("Krippendorff's alpha", _alpha),
    "pairwise": ("equal answers", share),
    "num_pairs_seen_twice": ("pairs seen by two or more", _count),
}
_EFFORT: Columns = {
    "median_seconds": ("median per verdict", _seconds),
    "minutes_per_pair": ("time per pair", _minutes),
    "cost_per_pair": ("cost per pair", _money),
}
# scope -> title and columns, in the order of the page.
SCOPES: Mapping[str, tuple[str, Columns]] = {
    "all": (
        "All people",
        {
            **_COUNTED,
            **_AGREEMENT,
            "undecided_share": ("could not decide", share),
            **_EFFORT,
            "hours": ("time in all", _hours),
            "cost": ("cost in all", _money),
        },
    ),
    "annotator": (
        "By annotator",
        {
            **_COUNTED,
            "agreement": ("agreement with others", share),
            "drift": ("drift, points", points),
            **_EFFORT,
        },
    ),
    "asset": ("By asset that asked", {**_COUNTED, **_AGREEMENT}),
    "category": ("By task category", {**_COUNTED, **_AGREEMENT}),
}
