"""Tables of figures on the report page, and how figures are written in them.

What was not measured is a dash, never a zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
