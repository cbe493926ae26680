"""`synpref score`: rewards of a file of pairs or responses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from synpref_dagster.cli.tools.showing import (
    ColumnOption,
    ExecutorOption,
    GpusOption,
    WorkersOption,
    named_columns,
    plain,
    progress_line,
    refused_in_a_line,
    say_reading,
    say_unread,
    shard_settings,
)

if TYPE_CHECKING:
    from synpref_dagster.tools.scoring import ScoreReport


def score(
    model: Annotated[str, typer.Argument(help="Folder or hub id of a reward model.")],
    file: Annotated[str, typer.Argument(help="Pairs or responses, in any layout that is read.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .parquet or .jsonl file.")],
    layout: Annotated[
        str, typer.Option("--format", help="auto, responses, or a format of pairs.")
    ] = "auto",
    column: ColumnOption = None,
    seed: Annotated[int, typer.Option(help="Of formats that draw the chosen one.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an output.")] = False,
    executor: ExecutorOption = "in_process",
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
) -> None:
    """Give every response of FILE its reward under MODEL. A killed scoring goes on when repeated.

    Rows that are neither pairs nor responses are counted and written beside the output.
    """
    with refused_in_a_line():
        shards = shard_settings(executor, workers, gpus_per_worker)
        columns = named_columns(column)
        from synpref_dagster.tools.scoring import score as score_file

        with progress_line() as listener:
            report = score_file(
                model,
                file,
                output,
                layout=layout,
                columns=columns,
                seed=seed,
                force=force,
                shards=shards,
                listener=listener,
            )
    _print(Console(), report)


def _print(console: Console, report: "ScoreReport") -> None:
    read = report.reading
    say_reading(console, read)
    if report.accuracy is not None:
        plain(console, f"margin above 0: {report.accuracy:.1%} of {read.num_items:,} pairs")
    if report.num_over_long:
        long = "longer than the model reads, cut at the beginning"
        plain(console, f"over-long: {report.num_over_long:,} responses, {long}")
    say_unread(console, read)
    plain(console, f"{report.num_scored:,} responses scored; rewards in {report.output}")
    if report.quarantine:
        plain(console, f"quarantined rows in {report.quarantine}")
