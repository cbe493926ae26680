"""`synpref filter`: the consistency filter over a file of rewards, or of pairs and two models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console

from synpref_dagster.cli.tools.showing import (
    ColumnOption,
    ExecutorOption,
    ForceOption,
    GpusOption,
    LayoutOption,
    OutputOption,
    WorkersOption,
    named_columns,
    plain,
    progress_line,
    refused_in_a_line,
    shard_settings,
)

if TYPE_CHECKING:
    from synpref_dagster.tools.curating.deciding import DecideReport


BestOption = Annotated[
    str, typer.Option(help="Column of the margin under the best model, or CHOSEN,REJECTED.")
]
GoldOption = Annotated[
    str, typer.Option(help="The same under the model trained on people's labels alone.")
]
ModelsOption = Annotated[
    tuple[str, str] | None, typer.Option(help="BEST GOLD: two models in place of columns.")
]
JudgesOption = Annotated[
    str | None, typer.Option(help="Column of judges' labels: 1, -1, 0. [judge_label]")
]
PeopleOption = Annotated[
    str | None, typer.Option(help="Column of people's labels: 1, -1, 0. [human_label]")
]
EvidenceOption = Annotated[
    Path | None, typer.Option(help="File with people's labels that the guard is made from.")
]
ThresholdOption = Annotated[
    float | None, typer.Option(help="A guard that is known: a flip needs p below it.")
]


def filter_file(
    file: Annotated[str, typer.Argument(help="Rewards, or pairs that two models score first.")],
    output: OutputOption,
    best: BestOption = "best_margin",
    gold: GoldOption = "gold_margin",
    models: ModelsOption = None,
    judges: JudgesOption = None,
    people: PeopleOption = None,
    evidence: EvidenceOption = None,
    max_confidence: ThresholdOption = None,
    floor: Annotated[float, typer.Option(help="Least precision of flips on gold.")] = 0.6,
    min_flips: Annotated[int, typer.Option(min=1, help="Fewer on gold are no evidence.")] = 10,
    recycle: Annotated[str, typer.Option(help="strict, all or none.")] = "strict",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    force: ForceOption = False,
    executor: ExecutorOption = "in_process",
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
) -> None:
    """Decide for every pair of FILE whether it is kept, flipped or discarded, and why.

    Machines flip only where people's labels show that such flips are right often enough.
    """
    with refused_in_a_line():
        from synpref_dagster.tools.curating.deciding import Recycle, decide

        if recycle not in get_args(Recycle):
            raise ValueError(f"--recycle {recycle!r}: choose {', '.join(get_args(Recycle))}")
        with progress_line() as told:
            report = decide(
                file,
                output,
                best=best,
                gold=gold,
                models=models,
                judges=judges,
                people=people,
                evidence=evidence,
                max_confidence=max_confidence,
                floor=floor,
                min_flips=min_flips,
                recycle=recycle,  # type: ignore[arg-type]
                layout=layout,
                columns=named_columns(column),
                force=force,
                shards=shard_settings(executor, workers, gpus_per_worker),
                listener=lambda _: told,
            )
    _print(Console(), report)


def _print(console: Console, report: "DecideReport") -> None:
    from synpref_dagster.curation.filtering.decision import REASONS

    decided = sum(report.totals.values())
    plain(console, f"{report.num_rows:,} rows read: {decided:,} decided")
    for reason, number in report.quarantined.items():
        plain(console, f"quarantined: {number:,} {reason}")
    for reason, number in report.reasons.items():
        plain(console, f"{REASONS[reason]}: {number:,} {reason}")
    if report.guard is not None:
        found = report.guard.precision
        share = f"{found.value:.3f} [{found.low:.3f} {found.high:.3f}]" if found.n else "unknown"
        outcome = (
            f"made below p = {report.max_confidence:g}" if report.max_confidence else "refused"
        )
        plain(console, f"flips are {outcome}: right on gold {share}, n={found.n:,}")
    for note in report.notes:
        plain(console, note)
    plain(console, f"decisions in {report.output}")
    if report.quarantine:
        plain(console, f"quarantined rows in {report.quarantine}")
