"""What a check says, as data: sections for a terminal, for Dagster, and figures for a machine."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table: names to the left, numbers to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int = 1
    """Columns of text, the first ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One section: its table, and what is said below it."""

    title: str
    grid: Grid | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """The whole check of one profile."""

    title: str
    parts: tuple[Part, ...]
    must_change: tuple[str, ...]
    look_at: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The figures, plain JSON."""


MUST_CHANGE, LOOK_AT = "Must change before a run", "Worth a look"
NOTHING = "Nothing has to change: synpref run can begin."


def as_markdown(page: Page) -> str:
    """The page for Dagster."""
    parts = [_section(MUST_CHANGE, _listed(page.must_change)) if page.must_change else NOTHING]
    if page.look_at:
        parts.append(_section(LOOK_AT, _listed(page.look_at)))
    for part in page.parts:
        table = [] if part.grid is None else [_table(part.grid)]
        parts.append(_section(part.title, [*table, *map(_plain, part.lines)]))
    return "\n\n".join(parts)


def as_facts(page: Page) -> dict[str, Any]:
    """The page for a machine: what must change, the figures, and the sections as people see them.

    What stands on the page and is no figure yet is in the sections all the same.
    """
    return {
        "profile": page.title,
        "must_change": list(page.must_change),
        "look_at": list(page.look_at),
        **page.facts,
        "sections": [asdict(part) for part in page.parts],
    }


def _section(title: str, blocks: Sequence[str]) -> str:
    return "\n\n".join([f"### {title}", *blocks])


def _listed(lines: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {_plain(line)}" for line in lines)]


def _table(grid: Grid) -> str:
    rules = ["---"] * grid.num_names + ["--:"] * (len(grid.head) - grid.num_names)
    return "\n".join(
        "| " + " | ".join(map(_plain, row)) + " |" for row in (grid.head, rules, *grid.rows)
    )


def _plain(text: str) -> str:
    r"""A text that Markdown shows as it is.

    >>> _plain("a|b *c* <i>")
    'a\\|b \\*c\\* \\<i\\>'
    """
    return "".join(f"\\{each}" if each in "\\`*_|<>[]#$" else each for each in text)
