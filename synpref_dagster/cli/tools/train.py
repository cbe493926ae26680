"""`synpref train`: a reward model from a file of pairs."""

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
    from synpref_dagster.tools.on_pairs.training import TrainReport


def train(
    file: Annotated[str, typer.Argument(help="Pairs, in any layout that is read.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model.")],
    backbone: Annotated[
        str | None, typer.Option(help="Folder, hub id or paper's size that is trained or read.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="hub trains all weights, frozen a head, linear needs no backbone.")
    ] = "hub",
    gold: Annotated[
        str | None, typer.Option(help="Pairs that choose the checkpoint; they never train.")
    ] = None,
    held_out: Annotated[
        float | None, typer.Option(help="Share of conversations that does so without; 0.1.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file with what [reward_model] may hold.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, one such setting; repeatable.")
    ] = None,
    layout: Annotated[str, typer.Option("--format", help="auto, or a format of pairs.")] = "auto",
    column: ColumnOption = None,
    seed: Annotated[int, typer.Option(help="Of order, new head and held-out share.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a model.")] = False,
) -> None:
    """Train a reward model on the pairs of FILE. A killed training goes on when repeated.

    Settings are those of [reward_model] of a profile (docs/profile_reference.md), e.g.
    --set learning_rate=1e-5 --set lora.rank=16 --set loss=hinge --set backbone.pad_token='<pad>'.
    """
    with refused_in_a_line():
        columns = named_columns(column)
        from synpref_dagster.tools.on_pairs.training import train as train_model

        with progress_line(words=str) as listener:
            report = train_model(
                file,
                output,
                backbone=backbone,
                backend=backend,
                gold=gold,
                held_out=held_out,
                settings=settings,
                changes=change or (),
                layout=layout,
                columns=columns,
                seed=seed,
                force=force,
                listener=listener,
            )
    _print(Console(), report)


def _print(console: Console, report: "TrainReport") -> None:
    say_reading(console, report.reading)
    say_unread(console, report.reading)
    if report.validated_on is not None:
        plain(console, "gold:")
        say_reading(console, report.validated_on)
    for reason, number in sorted(report.left_out.items()):
        plain(console, f"not trained on: {number:,} {reason}")
    plain(console, f"{report.num_pairs:,} pairs, {report.num_steps:,} steps")
    found = report.evaluation
    if found is not None:
        which = "held out" if report.validated_on is None else "gold"
        interval = f"[{found.low:.3f} {found.high:.3f}]"
        plain(console, f"accuracy {found.accuracy:.3f} {interval} on {found.num_pairs:,} {which}")
    done = "was there already" if report.reused else f"step {report.best_step:,} is kept"
    plain(console, f"{done}; model in {report.output}")
    if report.quarantine:
        plain(console, f"quarantined rows in {report.quarantine}")
