"""The released models on the report page: every benchmark with its interval and number of items."""

from collections.abc import Mapping, Sequence
from typing import Any

from synpref_dagster.benchmarks.suite import SUITE
from synpref_dagster.publishing.report.tables import NOT_MEASURED, Cell, FigureTable, has_value

Report = Mapping[str, Any]
TITLES = {benchmark.name: benchmark.title for benchmark in SUITE}


def leaderboard_tables(report: Report) -> list[FigureTable]:
    """One table of all releases, the best first: average, the seven, one's own benchmarks, gold.

    None where nothing but gold was measured. A report of an earlier version has no intervals.
    """
    releases = report.get("releases") or _without_intervals(report.get("leaderboard") or [])
    names = _benchmarks(releases)
    if not names:
        return []
    rows = [
        (
            release["model_size"],
            [
                points_cell(release["average"]),
                *(points_cell(release["benchmarks"].get(name)) for name in names),
                points_cell(release.get("gold")),
                Cell(text=release.get("night") or NOT_MEASURED),
            ],
        )
        for release in releases
    ]
    titles = [TITLES.get(name, name) for name in names]
    columns = ["average", *titles, "gold", "trained on the decisions of"]
    return [FigureTable(title="model", columns=columns, rows=rows)]


def headline(report: Report) -> Mapping[str, Any] | None:
    """The released model that the headline is about, first on the leaderboard; None without any."""
    releases = report.get("releases") or _without_intervals(report.get("leaderboard") or [])
    return releases[0] if releases else None


def points_cell(found: Any) -> Cell:
    """A share in percent without its sign, as leaderboards have it.

    >>> points_cell({"value": 0.515, "low": 0.48, "high": 0.55, "n": 200})
    Cell(text='51.5', note='48.0 to 55.0, n = 200')
    """
    if not has_value(found):
        return Cell(text=NOT_MEASURED)
    parts = []
    if found.get("low") is not None and found.get("high") is not None:
        parts.append(f"{100 * found['low']:.1f} to {100 * found['high']:.1f}")
    if found.get("n"):
        parts.append(f"n = {found['n']:,}")
    return Cell(text=f"{100 * found['value']:.1f}", note=", ".join(parts))


def _benchmarks(releases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The seven in their order, then others; those that no release was scored on are left out."""
    scored = {
        name: None
        for release in releases
        for name, found in release["benchmarks"].items()
        if has_value(found)
    }
    return [*(name for name in TITLES if name in scored), *(n for n in scored if n not in TITLES)]


def _without_intervals(board: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "model_size": row["model_size"],
            "night": row.get("night"),
            "average": {"value": row.get("average")},
            "benchmarks": {name: {"value": row.get(name)} for name in TITLES},
        }
        for row in board
    ]
