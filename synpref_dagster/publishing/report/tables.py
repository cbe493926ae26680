"""Tables of figures on the report page, and how figures are written in them.

What was not measured is a dash, never a zero.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

NOT_MEASURED = "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A figure, and what stands in small below it."""

    text: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureTable:
    """A table as the page shows it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def share(value: float) -> str:
    """A share of one as a percentage.

    >>> share(0.7134)
    '71.3%'
    """
    return f"{value:.1%}"


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign.

    >>> points(0.031), points(-0.2)
    ('+3.1', '-20.0')
    """
    return f"{100 * value:+.1f}"


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal; a dash for what was not measured.

    >>> percent(0.7134), percent(None)
    ('71.3%', '–')
    """
    return share(value) if is_number(value) else NOT_MEASURED


def count(number: float | None) -> str:
    """A number of things.

    >>> count(1200), count(None)
    ('1,200', '–')
    """
    return f"{number:,.0f}" if is_number(number) else NOT_MEASURED


def interval(found: Mapping[str, Any]) -> str:
    """Interval and number of observations of an accuracy.

    >>> interval({"value": 0.7, "low": 0.65, "high": 0.75, "n": 1200})
    '65.0% to 75.0%, n = 1,200'
    """
    parts = []
    if is_number(found.get("low")) and is_number(found.get("high")):
        parts.append(f"{percent(found['low'])} to {percent(found['high'])}")
    if is_number(found.get("n")):
        parts.append(f"n = {count(found['n'])}")
    return ", ".join(parts)


def accuracy_cell(found: Any) -> Cell:
    """An accuracy with its interval as a cell.

    >>> accuracy_cell(None)
    Cell(text='–', note='')
    """
    if not has_value(found):
        return Cell(text=NOT_MEASURED)
    return Cell(text=percent(found["value"]), note=interval(found))


def shown(value: Any) -> str:
    """A claim's value or threshold as people write it.

    >>> [shown(v) for v in (1200, 0.71345, "at least 0.8", True, None, {"value": 0.5})]
    ['1,200', '0.713', 'at least 0.8', 'yes', '–', '50.0%']
    """
    if isinstance(value, Mapping):
        return percent(value.get("value"))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else NOT_MEASURED
    return NOT_MEASURED if value is None else str(value)


def counts_table(title: str, numbers: Mapping[str, int] | None) -> list[FigureTable]:
    """Reasons and how many rows have each; no table where nothing was counted."""
    if not numbers:
        return []
    rows = [(name.replace("_", " "), [Cell(text=count(n))]) for name, n in numbers.items()]
    return [FigureTable(title=title, columns=["number"], rows=rows)]


def has_value(found: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a figure was measured."""
    return isinstance(found, Mapping) and is_number(found.get("value"))


def is_number(value: Any) -> TypeGuard[float]:
    """Whether something is a number that can be written."""
    return isinstance(value, int | float) and math.isfinite(value)
