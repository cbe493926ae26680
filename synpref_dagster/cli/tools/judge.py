"""`synpref judge`: what a panel of judges says about a file of pairs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from synpref_dagster.cli.tools.showing import (
    ColumnOption,
    named_columns,
    plain,
    progress_line,
    refused_in_a_line,
    say_reading,
    say_unread,
)

if TYPE_CHECKING:
    from synpref_dagster.tools.on_pairs.judging import JudgeReport

WAITING = 3  # exit code, as of a campaign whose replies are made in batches


def judge(
    file: Annotated[str, typer.Argument(help="Pairs, in any layout that is read.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .parquet or .jsonl file.")],
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file with the table [judges] of a profile.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="A profile: its judges, on its campaign's account.")
    ] = None,
    gold: Annotated[
        str | None, typer.Option(help="Pairs whose label is known, shown as examples.")
    ] = None,
    account: Annotated[str, typer.Option(help="Whose money it is, without a profile.")] = "tool",
    layout: Annotated[str, typer.Option("--format", help="auto, or a format of pairs.")] = "auto",
    column: ColumnOption = None,
    seed: Annotated[int | None, typer.Option(help="Of orders and samples.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an output.")] = False,
) -> None:
    """Ask judges about the pairs of FILE: votes, abstentions, agreement, cost.

    Replies are kept and paid for once: given again, the command asks only what is missing.
    """
    with refused_in_a_line():
        columns = named_columns(column)
        from synpref_dagster.judges.requests import BatchPendingError, JudgeError
        from synpref_dagster.tools.on_pairs.judging import judge as ask

        try:
            with progress_line(words=str) as listener:
                report = ask(
                    file,
                    output,
                    settings=settings,
                    profile=profile,
                    gold=gold,
                    account=account,
                    layout=layout,
                    columns=columns,
                    seed=seed,
                    force=force,
                    listener=listener,
                )
        except BatchPendingError as waiting:
            plain(Console(stderr=True), " ".join(str(waiting).split()))
            raise typer.Exit(WAITING) from waiting
        except JudgeError as error:
            raise ValueError(str(error)) from error
    _print(Console(), report)


def _print(console: Console, report: "JudgeReport") -> None:
    say_reading(console, report.reading)
    say_unread(console, report.reading)
    if report.num_repeated:
        plain(console, f"{report.num_repeated:,} pairs stand there more than once: asked once")
    for row in report.weighing[~report.weighing["kept"].astype(bool)].itertuples():
        plain(console, f"judge {row.judge} does not vote: {row.reason}, {row.value:.2f}")
    console.print(_measures(report), markup=False)
    undecided = report.result.labels.query("label == 0")["reason"].value_counts()
    for reason, number in undecided.items():
        plain(console, f"undecided: {number:,} {reason}")
    for note in report.notes:
        plain(console, note)
    if report.facts:
        asked = sum(each["num_asked"] for each in report.facts.values())
        kept = sum(each["num_cached"] for each in report.facts.values())
        plain(console, f"{asked:,} replies: {kept:,} were kept, ${report.usd:.4f} paid for others")
        cap = "" if report.max_usd is None else f" of ${report.max_usd:.2f}"
        plain(console, f"account {report.account}: ${report.spent_usd:.4f}{cap} spent")
    plain(console, f"labels in {report.output}")
    if report.quarantine:
        plain(console, f"quarantined rows in {report.quarantine}")


def _measures(report: "JudgeReport") -> Table:
    from synpref_dagster.tools.on_pairs.judging import MEASURES

    table = Table("judge", box=SIMPLE_HEAD)
    for measure in MEASURES:
        table.add_column(measure.replace("_", " "), justify="right")
    for name, rows in report.quality.groupby("judge", sort=False):
        found = rows.set_index("measure")
        cells = []
        for measure in MEASURES:
            value, low, high, count = found.loc[measure, ["value", "low", "high", "n"]]
            interval = f" [{low:.2f} {high:.2f}]" if measure == "agreement" and count else ""
            cells.append(f"{value:.3f}{interval}" if count else "-")
        table.add_row(str(name), *cells)
    return table
