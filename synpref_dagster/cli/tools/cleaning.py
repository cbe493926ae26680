"""`synpref clean`, `dedup` and `decontaminate`: files of pairs in, the ones to keep out."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from synpref_dagster.cli.tools.showing import (
    ColumnOption,
    ExecutorOption,
    ForceOption,
    LayoutOption,
    OutputOption,
    SeedOption,
    WorkersOption,
    named_columns,
    plain,
    refused_in_a_line,
    say_reading,
    say_unread,
    shard_settings,
    stage_line,
)

if TYPE_CHECKING:
    from synpref_dagster.tools.curating.cleaning import CleanReport

FilesArgument = Annotated[
    list[str], typer.Argument(help="Files or folders of pairs, in any layout that is read.")
]
AgainstOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A folder or file of benchmarks, a file of texts or pairs, NAME=PATH, the name of a "
        "benchmark on the hub, or hub for the seven; repeatable."
    ),
]
WordsOption = Annotated[int, typer.Option(min=1, help="Shared words that are contamination.")]
EverywhereOption = Annotated[
    bool, typer.Option("--everywhere", help="Look into every turn and both responses.")
]


def clean(
    files: FilesArgument,
    output: OutputOption,
    against: AgainstOption = None,
    words: WordsOption = 13,
    everywhere: EverywhereOption = False,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    executor: ExecutorOption = "in_process",
    workers: WorkersOption = None,
) -> None:
    """Drop unsound, repeated and contaminated pairs of FILES; mark contradictions and cycles.

    Decided as in the clean pool of a campaign. A killed cleaning goes on when repeated.
    """
    with refused_in_a_line():
        from synpref_dagster.tools.curating.cleaning import clean as clean_files

        with stage_line() as stage:
            report = clean_files(
                files,
                output,
                against=against or (),
                words=words,
                everywhere=everywhere,
                layout=layout,
                columns=named_columns(column),
                seed=seed,
                force=force,
                shards=shard_settings(executor, workers, None),
                stage=stage,
            )
    _print(Console(), report)
    if not against:
        plain(Console(), "no benchmark was looked for: name some with --against")


def dedup(
    files: FilesArgument,
    output: OutputOption,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    executor: ExecutorOption = "in_process",
    workers: WorkersOption = None,
) -> None:
    """Drop repeated pairs of FILES, of which the first is kept; mark contradictions and cycles."""
    with refused_in_a_line():
        from synpref_dagster.tools.curating.cleaning import dedup as dedup_files

        with stage_line() as stage:
            report = dedup_files(
                files,
                output,
                layout=layout,
                columns=named_columns(column),
                seed=seed,
                force=force,
                shards=shard_settings(executor, workers, None),
                stage=stage,
            )
    _print(Console(), report)


def decontaminate(
    files: FilesArgument,
    output: OutputOption,
    against: AgainstOption = None,
    words: WordsOption = 13,
    everywhere: EverywhereOption = False,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    executor: ExecutorOption = "in_process",
    workers: WorkersOption = None,
) -> None:
    """Drop pairs of FILES that share a stretch of words with benchmarks or texts of your own."""
    with refused_in_a_line():
        from synpref_dagster.tools.curating.cleaning import decontaminate as decontaminate_files

        with stage_line() as stage:
            report = decontaminate_files(
                files,
                against or (),
                output,
                words=words,
                everywhere=everywhere,
                layout=layout,
                columns=named_columns(column),
                seed=seed,
                force=force,
                shards=shard_settings(executor, workers, None),
                stage=stage,
            )
    _print(Console(), report)


def _print(console: Console, report: "CleanReport") -> None:
    say_reading(console, report.reading)
    for reason, number in report.dropped.items():
        of = ", ".join(f"{name} {num:,}" for name, num in report.contaminated.items())
        plain(console, f"dropped: {number:,} {reason}{f' ({of})' * (reason == 'contaminated')}")
    for risk, number in report.marked.items():
        plain(console, f"kept and marked: {number:,} {risk}")
    say_unread(console, report.reading)
    for note in report.notes:
        plain(console, note)
    plain(console, f"{report.num_kept:,} pairs kept in {report.output}")
    if report.quarantine:
        plain(console, f"all other rows, with reasons, in {report.quarantine}")
