"""`synpref check` on a terminal: sections, tables, and what must change."""

import gc
import json

import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from synpref_dagster.cli.refusals import refuse
from synpref_dagster.preview.check import checked
from synpref_dagster.preview.page import LOOK_AT, MUST_CHANGE, NOTHING, Grid, Page, as_facts
from synpref_dagster.settings.profile import Profile
from synpref_dagster.settings.secrets import redacted

UNFIT = 1
LEAST_WIDTH = 100
LEAST_CUT = 12


def check_profile(shown: Console, profile: Profile, *, as_json: bool, offline: bool) -> None:
    """Print what a profile will meet, need and cost; ends with exit code 1 if it must change.

    Args:
        shown: where to.
        profile: to check.
        as_json: one JSON object instead of a page.
        offline: asks no endpoint whether it is there.
    """
    # Imports stay: to look for garbage in them while pairs go by costs a tenth of the time.
    gc.freeze()
    try:
        page = checked(profile, offline=offline)
    except (ValueError, OSError) as error:
        refuse(shown, error)
    if as_json:
        typer.echo(json.dumps(as_facts(page), ensure_ascii=False))
    else:
        print_page(shown, page)
    if page.must_change:
        raise typer.Exit(UNFIT)


def print_page(shown: Console, page: Page) -> None:
    """The page, section by section; what must change comes last, where it is seen."""
    if shown.width < LEAST_WIDTH:
        shown = Console(file=shown.file, width=LEAST_WIDTH, no_color=shown.no_color)
    for part in page.parts:
        _heading(shown, part.title)
        if part.grid is not None:
            shown.print(_table(part.grid, shown.width))
        for line in part.lines:
            _say(shown, line)
    for title, lines, style in (
        (LOOK_AT, page.look_at, "yellow"),
        (MUST_CHANGE, page.must_change, "red"),
    ):
        if lines:
            _heading(shown, title)
        for line in lines:
            _say(shown, f"- {line}", style=style)
    if not page.must_change:
        shown.print()
        _say(shown, NOTHING, style="green")


def _heading(shown: Console, title: str) -> None:
    shown.print()
    shown.print(title, style="bold", markup=False, highlight=False)


def _say(shown: Console, line: str, *, style: str | None = None) -> None:
    shown.print(redacted(line), style=style, markup=False, highlight=False)


def _table(grid: Grid, width: int) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    widths = [max(map(cell_len, column)) for column in zip(grid.head, *grid.rows, strict=True)]
    # The first names are cut where the rest is too wide, and no number ever.
    room = max(LEAST_CUT, width - sum(widths[1:]) - 2 * len(widths))
    for place, name in enumerate(grid.head):
        most = None if place else room
        side: JustifyMethod = "left" if place < grid.num_names else "right"
        table.add_column(name, justify=side, no_wrap=True, max_width=most)
    for row in grid.rows:
        table.add_row(*map(escape, row))
    return table
