"""The plots of the report page, drawn from the report itself so that both show the same numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from synpref_dagster.publishing.plot_style import ON_A_PAGE
from synpref_dagster.publishing.plots import (
    before_and_after,
    calibration_plot,
    histogram,
    line_plot,
    stacked_shares,
)
from synpref_dagster.publishing.report.section import in_order
from synpref_dagster.publishing.report.tables import count, has_value, is_number, percent

Report = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A plot, and what one sees in it."""

    title: str
    """Stands below the plot, not in it: letters of a page stay as large on a phone."""
    png: bytes
    caption: str


def report_figures(report: Report) -> dict[str, Figure]:
    """The plots that a report has figures for, by the name that sections call them by."""
    drawn = {name: draw(report) for name, draw in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _decisions(report: Report) -> Figure | None:
    found = report.get("decisions_by_source") or {}
    by_source = {name: in_order(row) for name, row in found.items()}
    if not by_source:
        return None
    total = sum(sum(row.values()) for row in by_source.values())
    kept = {name: row.get("kept", 0) / (sum(row.values()) or 1) for name, row in by_source.items()}
    most, least = max(kept, key=lambda n: kept[n]), min(kept, key=lambda n: kept[n])
    spread = (
        f"Most is kept of {most} ({percent(kept[most])}), least of {least} ({percent(kept[least])})"
        if len(kept) > 1
        else f"{percent(kept[most])} is kept"
    )
    return Figure(
        title="Decisions by source",
        png=stacked_shares(by_source, title="", size=ON_A_PAGE),
        caption=f"What was decided about the clean pairs of each source. {spread}. "
        f"n = {count(total)} pairs.",
    )


def _margins(report: Report) -> Figure | None:
    found = report.get("margins_by_decision") or {}
    counted = in_order(found.get("num_pairs") or {})
    numbers = {name: each for name, each in counted.items() if sum(each)}
    if not numbers:
        return None
    total = sum(sum(each) for each in numbers.values())
    return Figure(
        title="Margin of the source's label, by decision",
        png=histogram(
            numbers,
            found["edges"],
            title="",
            x_label="margin under the best RM",
            size=ON_A_PAGE,
        ),
        caption="Right of zero the best reward model agrees with the label that the source gave, "
        "left of it it would turn it round. Pairs that were kept on the left, or flipped on the "
        f"right, were decided by people or by other witnesses. n = {count(total)} pairs.",
    )


def _iterations(report: Report) -> Figure | None:
    lines = {
        "gold": report.get("gold_accuracy_by_iteration") or [],
        "clean test": report.get("test_accuracy_by_iteration") or [],
    }
    lines = {name: rows for name, rows in lines.items() if any(has_value(row) for row in rows)}
    if not lines:
        return None
    told = ", ".join(f"n = {count(rows[-1]['n'])} ({name})" for name, rows in lines.items())
    return Figure(
        title="Accuracy of each iteration's model",
        png=line_plot(
            {name: [_value(row) for row in rows] for name, rows in lines.items()},
            title="",
            x_label="iteration",
            y_label="accuracy",
            intervals={
                name: [(_end(row, "low"), _end(row, "high")) for row in rows]
                for name, rows in lines.items()
            },
            size=ON_A_PAGE,
        ),
        caption="Iteration 0 is the seed's model. Bands are 95% intervals: where they overlap, the "
        f"iterations are not told apart. Half is chance. {told}.",
    )


def _calibration(report: Report) -> Figure | None:
    found = {name: rows for name, rows in (report.get("calibration") or {}).items() if rows}
    if not found:
        return None
    points = {
        f"{name} RM": [(row["confidence"], row["value"], row["low"], row["high"]) for row in rows]
        for name, rows in found.items()
    }
    told = ", ".join(
        f"n = {count(sum(row['n'] for row in rows))} ({name} RM)" for name, rows in found.items()
    )
    return Figure(
        title="Confidence against agreement with people",
        png=calibration_plot(
            points,
            title="",
            x_label="confidence of the model",
            y_label="people agree",
            size=ON_A_PAGE,
        ),
        caption="On the dashed line a model is right as often as it says. Below it, it is surer "
        f"than it should be. Gold pairs that the models did not learn from, {told}.",
    )


def _length(report: Report) -> Figure | None:
    rows = [row for row in report.get("by_source") or [] if has_value(row.get("longer_before"))]
    if not rows:
        return None
    before = {str(row["source"]): row["longer_before"] for row in rows}
    after = {name: row["longer_after"] for name, row in zip(before, rows, strict=True)
             if has_value(row.get("longer_after"))}  # fmt: skip
    total = sum(each["n"] for each in before.values())
    left = sum(each["n"] for each in after.values())
    return Figure(
        title="How often the longer response is preferred",
        png=before_and_after(
            {name: each["value"] for name, each in before.items()},
            {name: each["value"] for name, each in after.items()},
            title="",
            value_label="longer response preferred",
            size=ON_A_PAGE,
        ),
        caption="Hollow: labels as they came; filled: curated labels. Labels that do not care for "
        f"length stand near the line at half. n = {count(total)} before, {count(left)} after.",
    )


FIGURES: Mapping[str, Callable[[Report], Figure | None]] = {
    "decisions": _decisions,
    "margins": _margins,
    "iterations": _iterations,
    "calibration": _calibration,
    "length": _length,
}


def _value(row: Mapping[str, Any]) -> float:
    return _end(row, "value")


def _end(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return float(value) if is_number(value) else float("nan")
