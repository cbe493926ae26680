"""Small plots for people who would rather look than read: PNG bytes below 50 kB, one style.

The same bytes go to MLflow, into the HTML report, and, as a markdown data URI, into Dagster's event
log, where every byte is stored with the event. A plot of nothing says so instead of failing: no
figure is worth a failed step.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synpref_dagster.publishing.plot_style import (
    IN_A_LOG,
    INK,
    PALETTE,
    QUIET,
    RULE,
    Size,
    empty_plot,
    finish,
    label_line_ends,
    legend,
    markdown_image,
    new_axes,
    png_bytes,
    text_on,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "bar_plot",
    "before_and_after",
    "calibration_plot",
    "histogram",
    "leaderboard_plot",
    "line_plot",
    "markdown_image",
    "stacked_shares",
]

# What became of a pair has the same colour in every plot; a dropped one is grey.
OUTCOME_COLOURS = {
    "kept": PALETTE[0],
    "flipped": PALETTE[1],
    "discarded": "#AEB6BF",
    "dropped": "#AEB6BF",
}

Interval = tuple[float, float]


def bar_plot(
    values: Mapping[str, float],
    *,
    title: str,
    value_label: str,
    intervals: Mapping[str, Interval] | None = None,
    percent: bool = True,
) -> bytes:
    """One horizontal bar per name, in the given order, with its value and interval.

    Args:
        values: bar name -> value; shares when `percent`.
        title: what the plot says.
        value_label: what the bars measure.
        intervals: bar name -> (low, high) for the bars that have one.
        percent: write values as percentages.

    Returns:
        PNG bytes.
    """
    if not values:
        return empty_plot(title)
    names = list(values)
    figure, axes = new_axes(title, height=1.1 + 0.36 * len(names))
    numbers = np.nan_to_num([values[name] for name in names])
    axes.barh(names, numbers, color=PALETTE[0], height=0.62, zorder=2)
    reach = _draw_intervals(axes, names, values=values, intervals=intervals or {})
    limit = max(float(reach.max()), 0.0) or 1.0
    for row, (name, end) in enumerate(zip(names, reach, strict=True)):
        axes.text(
            max(end, 0) + 0.015 * limit,
            row,
            _written(values[name], percent),
            va="center",
            color=INK,
            size=9,
        )
    axes.set_xlim(min(float(numbers.min()), 0.0), limit * 1.14)
    axes.invert_yaxis()
    axes.set_xlabel(value_label)
    axes.tick_params(axis="y", length=0)
    finish(axes, grid="x", percent_axis="x" if percent else "")
    return png_bytes(figure)


def line_plot(  # noqa: PLR0913 - what is drawn, and how it is called
    lines: Mapping[str, Sequence[float]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x: Sequence[float] | None = None,
    percent: bool = True,
    intervals: Mapping[str, Sequence[Interval]] | None = None,
    size: Size = IN_A_LOG,
) -> bytes:
    """One line per name over a shared x, each labelled at its end.

    Args:
        lines: line name -> values; NaN leaves a gap.
        title: what the plot says.
        x_label: name of the x axis.
        y_label: name of the y axis.
        x: x of each value, by default 0, 1, 2, ...; whole numbers get whole ticks.
        percent: write the y axis as percentages.
        intervals: line name -> (low, high) of each value, drawn as a band.
        size: how wide and how fine.

    Returns:
        PNG bytes.
    """
    if not lines:
        return empty_plot(title)
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes(title, height=3.1, size=size)
    ends = []
    for index, (name, values) in enumerate(lines.items()):
        places = np.arange(len(values)) if x is None else np.asarray(x)[: len(values)]
        numbers = np.asarray(values, dtype=float)
        colour = PALETTE[index % len(PALETTE)]
        marker = "o" if len(numbers) <= 30 else None
        axes.plot(places, numbers, color=colour, marker=marker, markersize=4, lw=1.8, zorder=3)
        if intervals and name in intervals:
            low, high = np.asarray(intervals[name], dtype=float).T
            axes.fill_between(places, low, high, color=colour, alpha=0.14, lw=0, zorder=2)
        finite = np.flatnonzero(np.isfinite(numbers))
        if len(finite):
            ends.append((float(numbers[finite[-1]]), float(places[finite[-1]]), name, colour))
    label_line_ends(axes, ends)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(axes, grid="y", percent_axis="y" if percent else "")
    return png_bytes(figure)


def histogram(
    counts: Mapping[str, Sequence[int] | np.ndarray],
    edges: Sequence[float] | np.ndarray,
    *,
    title: str,
    x_label: str,
    size: Size = IN_A_LOG,
) -> bytes:
    """Distributions of one quantity over shared bins, one outline per group.

    Args:
        counts: group name -> how many values are in each bin.
        edges: of the bins, one more than there are.
        title: what the plot says.
        x_label: name and unit of the quantity.
        size: how wide and how fine.

    Returns:
        PNG bytes.
    """
    if not counts:
        return empty_plot(title)
    figure, axes = new_axes(title, height=3.0, size=size)
    for index, (name, values) in enumerate(counts.items()):
        label = f"{name} (n = {int(np.sum(values)):,})"
        colour = OUTCOME_COLOURS.get(name, PALETTE[index % len(PALETTE)])
        axes.stairs(values, edges, color=colour, lw=1.6, label=label, zorder=3)
        axes.stairs(values, edges, color=colour, fill=True, alpha=0.18, zorder=2)
    axes.set_xlabel(x_label)
    axes.set_ylabel("count")
    legend(figure, axes, columns=min(len(counts), 3 if size == IN_A_LOG else 2))
    finish(axes, grid="y", percent_axis="")
    return png_bytes(figure)


def stacked_shares(
    shares: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    value_label: str = "share",
    size: Size = IN_A_LOG,
) -> bytes:
    """One full bar per name, divided into parts: how each source was kept, dropped, flipped.

    Args:
        shares: bar name -> part name -> amount (counts or shares; each bar is normalised).
        title: what the plot says.
        value_label: name of the axis.
        size: how wide and how fine.

    Returns:
        PNG bytes.
    """
    if not shares:
        return empty_plot(title)
    parts = list(dict.fromkeys(part for amounts in shares.values() for part in amounts))
    amounts = np.array([[float(row.get(part, 0)) for part in parts] for row in shares.values()])
    totals = amounts.sum(axis=1, keepdims=True)
    portions = np.divide(amounts, totals, out=np.zeros_like(amounts), where=totals > 0)
    figure, axes = new_axes(title, height=1.45 + 0.36 * len(shares), size=size)
    starts, rows = np.zeros(len(shares)), np.arange(len(shares))
    for index, part in enumerate(parts):
        widths = portions[:, index]
        colour = OUTCOME_COLOURS.get(part, PALETTE[index % len(PALETTE)])
        axes.barh(rows, widths, left=starts, color=colour, height=0.66, label=part, zorder=2)
        for row in np.flatnonzero(widths >= 0.07).tolist():
            centre = starts[row] + widths[row] / 2
            share = f"{widths[row]:.0%}"
            axes.text(centre, row, share, ha="center", va="center", color=text_on(colour), size=8)
        starts = starts + widths
    axes.set_yticks(rows, [size.shortened(name) for name in shares])
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.set_xlabel(value_label)
    axes.tick_params(axis="y", length=0)
    legend(figure, axes, columns=min(len(parts), 4))
    finish(axes, grid="", percent_axis="x")
    return png_bytes(figure)


def leaderboard_plot(
    ours: Mapping[str, float], *, title: str, published: Mapping[str, float] | None = None
) -> bytes:
    """Average score per checkpoint as points, best on top, the published value beside if given.

    Args:
        ours: checkpoint -> average score (a share).
        title: what the plot says.
        published: checkpoint -> published average of the real backbone, drawn hollow.

    Returns:
        PNG bytes.
    """
    names = sorted((name for name in ours if np.isfinite(ours[name])), key=lambda n: -ours[n])
    if not names:
        return empty_plot(title)
    figure, axes = new_axes(title, height=1.5 + 0.34 * len(names))
    published = published or {}
    _two_points(axes, names, {"measured": ours, "published": published}, filled="measured")
    for row, name in enumerate(names):
        left = ours[name] < published.get(name, -1.0)
        axes.annotate(
            f"{ours[name]:.1%}",
            (ours[name], row),
            xytext=(-8 if left else 8, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=INK,
            size=9,
        )
    axes.margins(x=0.18)
    axes.set_xlabel("average of the seven benchmarks")
    legend(figure, axes, columns=2)
    finish(axes, grid="x", percent_axis="x")
    return png_bytes(figure)


def calibration_plot(
    points: Mapping[str, Sequence[tuple[float, float, float, float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    size: Size = IN_A_LOG,
) -> bytes:
    """How often something is right that is so sure, beside the line on which both are the same.

    Args:
        points: name -> confidence, share right, and the ends of its interval, all shares.
        title: what the plot says.
        x_label: name of the confidence.
        y_label: name of the share.
        size: how wide and how fine.

    Returns:
        PNG bytes.
    """
    if not points:
        return empty_plot(title)
    figure, axes = new_axes(title, height=3.4, size=size)
    axes.plot([0.5, 1], [0.5, 1], ls="--", color=QUIET, lw=1, zorder=1)
    for index, (name, rows) in enumerate(points.items()):
        sure, right, low, high = np.asarray(rows, dtype=float).T
        colour = PALETTE[index % len(PALETTE)]
        axes.vlines(sure, low, high, color=colour, lw=1.4, alpha=0.7, zorder=2)
        axes.plot(sure, right, "o-", color=colour, ms=5, lw=1.4, label=name, zorder=3)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_xlim(0.48, 1.02)
    legend(figure, axes, columns=2)
    finish(axes, grid="y", percent_axis="y")
    return png_bytes(figure)


def before_and_after(
    before: Mapping[str, float],
    after: Mapping[str, float],
    *,
    title: str,
    value_label: str,
    size: Size = IN_A_LOG,
) -> bytes:
    """A hollow and a filled point per name, and a line at half.

    Args:
        before: name -> share, from top to bottom.
        after: name -> share; a name may be missing.
        title: what the plot says.
        value_label: what the points measure.
        size: how wide and how fine.

    Returns:
        PNG bytes.
    """
    if not before:
        return empty_plot(title)
    figure, axes = new_axes(title, height=1.6 + 0.34 * len(before), size=size)
    axes.axvline(0.5, color=QUIET, lw=1, ls="--", zorder=1)
    shown = [size.shortened(name) for name in before]
    _two_points(axes, list(before), {"before": before, "after": after}, filled="after", shown=shown)
    axes.margins(x=0.08)
    axes.set_xlabel(value_label)
    legend(figure, axes, columns=2)
    finish(axes, grid="x", percent_axis="x")
    return png_bytes(figure)


def _two_points(
    axes: "Axes",
    names: Sequence[str],
    points: Mapping[str, Mapping[str, float]],
    *,
    filled: str,
    shown: Sequence[str] | None = None,
) -> None:
    """Up to two points per name, the first name on top, and a line where there are both.

    Args:
        axes: to draw on.
        names: from top to bottom.
        points: of both kinds: label -> name -> value.
        filled: label of those that are filled; the others are hollow.
        shown: how the names are written.
    """
    for row, name in enumerate(names):
        both = [values[name] for values in points.values() if name in values]
        axes.plot(both, [row] * len(both), color=RULE, lw=2.2, zorder=2)
    for label, values in points.items():
        known = [row for row, name in enumerate(names) if name in values]
        is_filled = label == filled
        style: dict[str, Any] = {"mfc": PALETTE[0] if is_filled else "white"}
        style["mec"] = PALETTE[0 if is_filled else 1]
        if known:
            places = [values[names[row]] for row in known]
            axes.plot(places, known, "o", ms=7, mew=1.6, label=label, zorder=3, **style)
    axes.set_yticks(range(len(names)), shown or names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _draw_intervals(
    axes: "Axes",
    names: Sequence[str],
    *,
    values: Mapping[str, float],
    intervals: Mapping[str, Interval],
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Whiskers; returns how far right each bar reaches with its whisker."""
    reach = np.nan_to_num([values[name] for name in names])
    for row, name in enumerate(names):
        if name in intervals:
            low, high = intervals[name]
            axes.plot([low, high], [row, row], color=INK, lw=1.3, zorder=3)
            axes.plot([low, high], [row, row], "|", color=INK, ms=6, zorder=3)
            reach[row] = max(reach[row], high)
    return reach


def _written(number: float, percent: bool) -> str:
    if not np.isfinite(number):
        return "not measured"
    if percent:
        return f"{number:.1%}"
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:.3g}"
