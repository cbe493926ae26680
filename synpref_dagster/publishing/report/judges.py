"""The judges on the report page: a column per judge and one for the panel, on gold and truth.

Shares stand with their intervals; what was not measured is a dash, never a zero.
"""

from collections.abc import Callable, Mapping
from typing import Any

from synpref_dagster.curation.judging.quality import PANEL
from synpref_dagster.publishing.report.tables import NOT_MEASURED, Cell, FigureTable, points, share

SLICED = "agreement "  # followed by objectivity or task category
AGAINST = {
    "gold": "Judges against people's gold",
    "truth": "Judges against the sealed truth",
}
Quality = Mapping[str, Mapping[str, Mapping[str, Any]]]


def judge_tables(quality: Quality | None) -> list[FigureTable]:
    """The tables of a report's `judge_quality`, people's gold first: a column for each judge.

    Args:
        quality: gold or truth -> judge -> measure -> value, low, high, n.
    """
    found = quality or {}
    return [_table(AGAINST[name], found[name]) for name in AGAINST if found.get(name)]


def _table(title: str, judges: Mapping[str, Mapping[str, Any]]) -> FigureTable:
    ordered = _panel_last(judges)
    known = {name for _, found in ordered for name in found}
    by_category = sorted(name for name in known if name.startswith(SLICED) and name not in MEASURES)
    rows = [(name, *MEASURES[name]) for name in MEASURES if name in known]
    rows += [
        (name, f"agreement, {name.removeprefix(SLICED).replace('_', ' ')}", share)
        for name in by_category
    ]
    return FigureTable(
        title=title,
        columns=[judge for judge, _ in ordered],
        rows=[
            (heading, [_cell(found.get(name), shown) for _, found in ordered])
            for name, heading, shown in rows
        ],
    )


def _panel_last(judges: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(judges.items(), key=lambda item: item[0] == PANEL)


def _cell(found: Mapping[str, Any] | None, shown: Callable[[float], str]) -> Cell:
    if not found or found.get("value") is None:
        return Cell(text=NOT_MEASURED)
    low, high = found.get("low"), found.get("high")
    parts = []
    if low is not None and high is not None and low != high:
        parts.append(f"{shown(low)} to {shown(high)}")
    if found["n"]:
        parts.append(f"n = {found['n']:,}")
    return Cell(text=shown(found["value"]), note=", ".join(parts))


def _weight(value: float) -> str:
    return f"{value:.2f}"


def _dollars(value: float) -> str:
    """Dollars with two digits that matter.

    >>> _dollars(0.00012345), _dollars(1.5), _dollars(0.0)
    ('$0.00012', '$1.5', '$0')
    """
    return f"${value:.2g}" if value >= 1e-4 else f"${value:.5f}".rstrip("0").rstrip(".")


# measure -> heading and how it is written, in the order of the rows.
MEASURES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "vote_weight": ("vote counts", _weight),
    "agreement": ("agreement", share),
    "agreement objective": ("agreement, objective", share),
    "agreement subjective": ("agreement, subjective", share),
    "decided": ("decided", share),
    "swap_consistency": ("same when swapped", share),
    "first_position_share": ("prefers the first", share),
    "length_bias": ("length bias, points", points),
    "repetition_stability": ("same when repeated", share),
    "abstention_rate": ("abstains", share),
    "tie_rate": ("ties", share),
    "injection_resistance": ("resists instructions", share),
    "injection_undecided": ("undecided when instructed", share),
    "usd_per_correct_label": ("per correct label", _dollars),
}
