"""The report on a terminal: what came in, what was decided, what held, what did not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from synpref_dagster.publishing.report.first_screen import first_screen

Numbers = Mapping[str, Any]
SHORT_NAMES = {
    "reward_bench": "RB",
    "reward_bench_2": "RB2",
    "ppe_preference": "PPE-P",
    "ppe_correctness": "PPE-C",
    "rmb": "RMB",
    "rm_bench": "RM-B",
    "judge_bench": "JB",
}
LEAST_WIDTH = 120
VARIANTS = {  # order and wording of the training sets that are compared
    "longer_is_better": "(longer is better, no model)",
    "original": "original labels",
    "original_equal_size": "original labels, as many as kept",
    "filtered": "curated: kept",
    "filtered_corrected": "curated + recycled: kept and flipped",
    "gold_silver": "gold and silver only",
    "final": "curated + recycled + gold + silver",
    "truth": "(right labels, where they are known)",
}

VERDICTS = {  # what a claim came to, as it is printed
    "held": "[green]held[/green]",
    "not held": "[red]did not hold[/red]",
    "not decided": "[yellow]not decided[/yellow]",
    "not measured": "[dim]not measured[/dim]",
}


def print_report(console: Console, report: Numbers) -> None:
    """Print a report (see `curation/evidence/report.py`) in the order of the figure."""
    console = wide(console)
    console.rule(f"profile {report['profile']}, seed {report['seed']}")
    console.print(_first_screen(report))
    for line in report["simulated"]:
        console.print(f"[yellow]simulated:[/yellow] {line}", highlight=False)
    for night, names in _by_night(report).items():
        console.print(f"[dim]figures of {night}:[/dim] {', '.join(names)}", highlight=False)
    console.print(_pool_table(report))
    console.print(_label_table(report))
    console.print(_precision_table(report))
    console.print(_model_table(report))
    console.print(_iteration_table(report))
    console.print(_judge_table(report))
    console.print(_people_table(report))
    console.print(_leaderboard_table(report))
    for night, sizes in _sizes_by_night(report).items():
        told = f"[dim]trained on the decisions of {night}:[/dim] {', '.join(sizes)}"
        console.print(told, highlight=False)
    console.print(_claims_table(report))
    print_warnings(console, report)
    if report["next_steps"]:
        console.print("[bold]Next[/bold]")
        for line in report["next_steps"]:
            console.print(f"  {line}", highlight=False, markup=False)


def write_page(report: Numbers, path: Path) -> None:
    """Draw the page of a report anew: nothing is measured again.

    Raises:
        OSError: the file cannot be written.
    """
    from synpref_dagster.publishing.report.figures import report_figures
    from synpref_dagster.publishing.report.page import render_report

    path.write_text(render_report(report, report_figures(report)), encoding="utf-8")


def _first_screen(report: Numbers) -> Table:
    """What was asked, what came out, what to worry about, what it cost: as on the page."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for block in first_screen(report):
        style = "bold yellow" if block.key == "worry" else "bold"
        table.add_row(Text(block.title, style=style))
        for fact in block.facts:
            told = Text.assemble((fact.value, "bold"), (f"  {fact.note}", "dim"))
            table.add_row(f"  {fact.name}", told)
    return table


def print_warnings(console: Console, report: Numbers) -> None:
    """What the figures warn of, each with what to do; after the claims, where nobody misses it."""
    warnings = report.get("warnings") or []
    if warnings:
        console.print("[bold red]Warnings[/bold red]")
    for each in warnings:
        console.print(f"  {each['sentence']}", style="red", highlight=False, markup=False)
        console.print(f"    {each['advice']}", highlight=False, markup=False)


def wide(console: Console) -> Console:
    """A pipe has no width of its own; tables cut to 80 columns would hide their numbers."""
    if console.width >= LEAST_WIDTH:
        return console
    return Console(file=console.file, width=LEAST_WIDTH, no_color=console.no_color)


def shown(accuracy: Numbers | None) -> str:
    """An accuracy with its interval, as people read it.

    >>> shown({"value": 0.5, "low": 0.4, "high": 0.6, "n": 90})
    '.500 [.400 .600] n=90'
    >>> shown({"value": -0.01, "low": -0.1, "high": 0.08, "n": 90})
    '-.010 [-.100 .080] n=90'
    """
    if accuracy is None or accuracy["value"] is None:
        return "-"
    parts = [_short(accuracy[name]) for name in ("value", "low", "high")]
    return f"{parts[0]} [{parts[1]} {parts[2]}] n={accuracy['n']:,}"


def _by_night(report: Numbers) -> dict[str, list[str]]:
    """When figures were made, and of which assets; a night makes some of them anew, not all."""
    found: dict[str, list[str]] = {}
    for asset, night in report.get("nights", {}).items():
        found.setdefault(night, []).append(asset)
    return found


def _sizes_by_night(report: Numbers) -> dict[str, list[str]]:
    """The night on whose decisions sizes were trained, and which ones."""
    found: dict[str, list[str]] = {}
    for row in report["leaderboard"]:
        if "night" in row:
            found.setdefault(row["night"], []).append(row["model_size"])
    return found


def _short(number: float) -> str:
    return f"{number:.3f}".replace("0.", ".", 1)


def table_of(title: str, *columns: str) -> Table:
    """A table of the report: names to the left, numbers to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _pool_table(report: Numbers) -> Table:
    pool = report["pool"]
    table = table_of("Rows", "what", "pairs")
    table.add_row("read", f"{pool['read']:,}")
    for row in pool.get("unread_columns", []):
        table.add_row(
            f"  not read: {row['source']}, column {row['column']}", f"{row['num_rows']:,}"
        )
    for reason, count in pool["quarantined_by_reason"].items():
        table.add_row(f"  quarantined: {reason}", f"{count:,}")
    for reason, count in pool["dropped"].items():
        table.add_row(f"  dropped: {reason}", f"{count:,}")
    table.add_row("clean", f"{pool['clean']:,}")
    for reason, count in report["decisions_by_reason"].items():
        table.add_row(f"  {reason}", f"{count:,}")
    for decision, count in report["decisions"].items():
        table.add_row(decision, f"{count:,}")
    return table


def _label_table(report: Numbers) -> Table:
    table = table_of("Labels that are right, against the sealed truth", "labels", "accuracy")
    names = {
        "before": "clean pool, source labels",
        "kept": "kept",
        "flipped": "flipped",
        "after": "curated (kept and flipped)",
        "whole_pool": "whole pool, flips applied",
    }
    for name, title in names.items():
        table.add_row(title, shown(report["label_accuracy"][name]))
    return table


def _precision_table(report: Numbers) -> Table:
    table = table_of("Precision of machine decisions", "rule", "kept", "flipped")
    for rule, parts in report["filter_precision"].items():
        table.add_row(rule.replace("_", " "), shown(parts["kept"]), shown(parts["flipped"]))
    return table


def _model_table(report: Numbers) -> Table:
    table = table_of(
        f"Reward models on {_test_set(report)}", "trained on", "accuracy", "where length misleads"
    )
    against = report["rm_accuracy_against_length"]
    for variant, title in VARIANTS.items():
        if variant in report["rm_accuracy"]:
            table.add_row(title, shown(report["rm_accuracy"][variant]), shown(against.get(variant)))
    return table


def _iteration_table(report: Numbers) -> Table:
    columns = {
        "gold validation": report["gold_accuracy_by_iteration"],
        "clean test": report["test_accuracy_by_iteration"],
    }
    measured = {name: rows for name, rows in columns.items() if rows}
    table = table_of("Reward model by iteration", "iteration", *measured)
    for number, row in enumerate(zip(*measured.values(), strict=True)):
        table.add_row(str(number), *(shown(found) for found in row))
    return table


def _judge_table(report: Numbers) -> Table:
    title = f"Judges' agreement on {_test_set(report)}"
    table = table_of(title, "exemplars", "all", "objective", "subjective")
    parts = report["judge_agreement_by_objectivity"]
    for choice, found in report["judge_agreement"].items():
        table.add_row(
            choice,
            shown(found),
            shown(parts["objective"].get(choice)),
            shown(parts["subjective"].get(choice)),
        )
    return table


def _people_table(report: Numbers) -> Table:
    table = table_of("How far people agree", "asked by", "verdicts", "alpha", "equal answers")
    people = report.get("people") or {}
    for name, found in {**people.get("asset", {}), **people.get("all", {})}.items():
        figures = (found.get("alpha"), found.get("pairwise"))
        table.add_row(
            name,
            f"{found['num_verdicts']:,}",
            *("-" if value is None else f"{value:.3f}" for value in figures),
        )
    return table


def _leaderboard_table(report: Numbers) -> Table | str:
    rows = report["leaderboard"]
    if not rows:
        return "Leaderboard: no release was scored yet\n"
    if all(row["average"] is None for row in rows):
        return "Leaderboard: no benchmark was named, releases were measured on gold alone\n"
    headlines = [name for name in SHORT_NAMES if name in rows[0]]
    title = "Leaderboard of the releases, in points"
    table = table_of(title, "model size", *(SHORT_NAMES[name] for name in headlines), "average")
    for row in rows:
        values = [row[name] for name in (*headlines, "average")]
        table.add_row(
            row["model_size"],
            *("-" if value is None else f"{100 * value:.1f}" for value in values),
        )
    return table


def _claims_table(report: Numbers) -> Table:
    table = table_of("What held, and what did not", "claim", "measured", "needed", "n", "")
    table.columns[0].no_wrap = False  # sentences
    for claim in report["claims"]:
        least = claim["threshold"]
        table.add_row(
            claim["claim"],
            shown(claim).partition(" n=")[0],
            _short(least) if least > 0 else f"> {least:g}",
            f"{claim['n']:,}",
            VERDICTS[claim["verdict"]],
        )
    if any(claim["verdict"] == "not decided" for claim in report["claims"]):
        table.caption = (
            "not decided: n is too small, the interval of the figure has the needed number inside"
        )
        table.caption_justify = "left"
    return table


def _test_set(report: Numbers) -> str:
    return str(report.get("test_set", "the clean test set"))
