"""`synpref convert`: a file of pairs in the layout of another trainer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from synpref_dagster.cli.tools.showing import (
    ColumnOption,
    named_columns,
    plain,
    refused_in_a_line,
    say_reading,
    say_unread,
)

if TYPE_CHECKING:
    from synpref_dagster.tools.on_pairs.converting import ConvertReport


def convert(
    file: Annotated[str, typer.Argument(help="Pairs, in any layout that is read.")],
    to: Annotated[
        str,
        typer.Option(
            help="datasets, trl, openrlhf, llama_factory, axolotl, axolotl_rm or nemo_rl."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A folder, or a .jsonl or .parquet file.")
    ],
    held_out: Annotated[
        float, typer.Option(help="Share of conversations in a split `validation`.")
    ] = 0.0,
    split: Annotated[
        str | None, typer.Option(help="Which of several splits in a folder of `datasets`.")
    ] = None,
    layout: Annotated[str, typer.Option("--format", help="auto, or a format of pairs.")] = "auto",
    column: ColumnOption = None,
    seed: Annotated[int, typer.Option(help="Of the split, and of formats that draw.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an output.")] = False,
) -> None:
    """Write the pairs of FILE in the layout of another trainer; read again they are the same."""
    with refused_in_a_line():
        columns = named_columns(column)
        from synpref_dagster.tools.on_pairs.converting import convert as convert_file

        report = convert_file(
            file,
            output,
            to=to,
            held_out=held_out,
            split=split,
            layout=layout,
            columns=columns,
            seed=seed,
            force=force,
        )
    _print(Console(), report)


def _print(console: Console, report: "ConvertReport") -> None:
    say_reading(console, report.reading)
    say_unread(console, report.reading)
    for reason, number in report.left_out.items():
        plain(console, f"not written: {number:,} {reason}")
    told = ", ".join(f"{number:,} {split}" for split, number in report.written.items())
    plain(console, f"{told}; pairs in {report.output}")
    for line in report.use.splitlines():
        plain(console, f"  {line}")
    if report.quarantine:
        plain(console, f"quarantined rows in {report.quarantine}")
