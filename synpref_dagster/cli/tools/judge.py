"""`synpref judge`: what a panel of judges says about a file of pairs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

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
    for line in _measures(report):
        plain(console, line)
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


def _measures(report: "JudgeReport") -> Iterator[str]:
    """A line per judge, and one of all together: shares, agreement with its interval."""
    from synpref_dagster.tools.table import share

    width = max(map(len, report.quality["judge"]))
    for name, rows in report.quality.groupby("judge", sort=False):
        found = rows.set_index("measure")
        told = {measure: share(found.loc[measure, "value"]) or "-" for measure in found.index}
        agrees = found.loc["agreement"]
        interval = f" [{share(agrees['low'])} {share(agrees['high'])}]" if agrees["n"] else ""
        yield (
            f"{name:<{width}}  agrees {told['agreement']}{interval}, decided {told['decided']}, "
            f"abstains {told['abstention_rate']}, same both ways {told['swap_consistency']}, "
            f"first place {told['first_position_share']}"
        )
