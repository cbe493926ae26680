"""`synpref compare`: campaigns by their profiles, or two reward models with `--on`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from synpref_dagster.cli.tools.showing import (
    CacheOption,
    ColumnOption,
    DataOption,
    ExecutorOption,
    GpusOption,
    HubOption,
    LayoutOption,
    OnlyOption,
    SuiteOption,
    WorkersOption,
    named_columns,
    named_suites,
    plain,
    progress_line,
    refused_in_a_line,
    say_reading,
    shard_settings,
)

if TYPE_CHECKING:
    import pandas as pd

    from synpref_dagster.tools.comparing import CompareReport

BENCHMARKS, SEEDS = "benchmarks", "0,1,2"


SeedsOption = Annotated[str | None, typer.Option(help=f"Of profiles: campaigns to pool. [{SEEDS}]")]
OnOption = Annotated[
    str, typer.Option(help="Models: a file or folder of pairs, or the word benchmarks.")
]
ByOption = Annotated[
    list[str] | None, typer.Option(help="Column to tell pairs apart by; repeatable.")
]
ExamplesOption = Annotated[int, typer.Option(min=0, help="Pairs to show of each side.")]
RowsOption = Annotated[Path | None, typer.Option(help="A file for every row as JSON.")]


def compare(
    names: Annotated[
        list[str], typer.Argument(help="Profiles by name or path; with --on two reward models.")
    ],
    seeds: SeedsOption = None,
    output: RowsOption = None,
    on: OnOption = "",
    data: DataOption = None,
    suite: SuiteOption = None,
    only: OnlyOption = "",
    hub: HubOption = None,
    by: ByOption = None,
    examples: ExamplesOption = 3,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    cache: CacheOption = None,
    executor: ExecutorOption = "in_process",
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
) -> None:
    """What each training set of campaigns is worth; with --on, which of two models is better.

    Intervals come from drawing whole prompts again, the same ones for both sides of a difference.
    """
    of_models = (data, suite, only, hub, by, column, cache, workers, gpus_per_worker)
    if not on:
        with refused_in_a_line():
            if any(each is not None and each != "" for each in of_models):
                raise ValueError("these options compare models: add --on FILE or --on benchmarks")
        _campaigns(names, SEEDS if seeds is None else seeds, output)
        return
    with refused_in_a_line():
        if len(names) != 2:
            raise ValueError(f"--on compares two reward models, and {len(names)} are named")
        if seeds is not None:
            raise ValueError("--seeds is of profiles; take it out, or take --on out")
        from synpref_dagster.tools.comparing import compare as compare_models

        with progress_line() as told:
            report = compare_models(
                names[0],
                names[1],
                None if on == BENCHMARKS else on,
                data=data,
                suites=named_suites(suite),
                only=[name.strip() for name in only.split(",") if name.strip()],
                hub=hub,
                by=by or (),
                num_examples=examples,
                layout=layout,
                columns=named_columns(column),
                cache=cache,
                shards=shard_settings(executor, workers, gpus_per_worker),
                listener=lambda _: told,
            )
        if output is not None:
            _write(output, report)
    _print(Console(), report)


def _campaigns(profiles: list[str], seeds: str, output: Path | None) -> None:
    from synpref_dagster.cli.compare import compare_campaigns
    from synpref_dagster.cli.refusals import load_or_refuse, refuse

    console = Console()
    try:
        wanted = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        refuse(console, f"--seeds {seeds!r}: give whole numbers, like 0,1,2")
    campaigns = {
        name: [load_or_refuse(console, name, seed) for seed in wanted] for name in profiles
    }
    missing = compare_campaigns(console, campaigns, output=output)
    if missing:
        refuse(
            console,
            f"no evidence yet of {', '.join(missing)}: `synpref run` these campaigns to their "
            "report, or leave their seeds out (--seeds)",
        )


def _write(output: Path, report: "CompareReport") -> None:
    """Every row as a line of JSON, as the comparison of campaigns writes them."""
    rows = [
        {"what": what, "models": list(report.models), **row}
        for what, frame in (("slice", report.rows), ("headline", report.headlines))
        for row in frame.to_dict("records")
    ]
    rows += [{"what": "example", **each.as_dict()} for each in report.examples]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    output.write_text(text, encoding="utf-8")


def _print(console: Console, report: "CompareReport") -> None:
    if report.reading is not None:
        say_reading(console, report.reading)
    if len(report.headlines):
        _table(console, report, "Headlines", report.headlines, ["benchmark"])
    _table(console, report, "Pairs ordered rightly", report.rows, ["by", "value"])
    for each in report.examples:
        plain(console, f"\n{each.right} alone is right: {each.where}")
        margins = f"{report.models[0]} {each.first_margin:+.3f}, {report.models[1]}"
        plain(console, f"  margins: {margins} {each.second_margin:+.3f}")
        for part in ("prompt", "chosen", "rejected"):
            plain(console, f"  {part}: {getattr(each, part)}")
    for note in report.notes:
        plain(console, note)
    for name, number in zip(report.models, report.num_scored, strict=True):
        plain(console, f"{name}: {number:,} responses scored")


def _table(
    console: Console, report: "CompareReport", title: str, rows: "pd.DataFrame", keys: list[str]
) -> None:
    from synpref_dagster.tools.table import share

    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    alone = [name for name in ("only_first", "only_second") if name in rows.columns]
    first, second = report.models
    shown.add_column("")
    for column in ("n", first, second, "difference", *("1st only", "2nd only")[: len(alone)]):
        shown.add_column(column, justify="right", no_wrap=column not in report.models)
    for row in rows.to_dict("records"):
        about = ": ".join(str(row[key]) for key in keys if row[key])
        gain = f"{row['difference']:+.3f} [{row['low']:+.3f} {row['high']:+.3f}]"
        told = [f"{row['n']:,}", share(row["first"]), share(row["second"]), gain]
        shown.add_row(about, *told, *(f"{row[name]:,}" for name in alone))
    console.print(shown, markup=False)
