"""`synpref benchmark`: reward models on the benchmarks that are at hand."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from synpref_dagster.cli.tools.showing import (
    CacheOption,
    DataOption,
    ExecutorOption,
    GpusOption,
    HubOption,
    OnlyOption,
    SuiteOption,
    WorkersOption,
    named_suites,
    plain,
    progress_line,
    refused_in_a_line,
    shard_settings,
)

if TYPE_CHECKING:
    from synpref_dagster.tools.benchmarking import BenchmarkReport


def benchmark(
    models: Annotated[list[str], typer.Argument(help="Folders or hub ids of reward models.")],
    data: DataOption = None,
    suite: SuiteOption = None,
    only: OnlyOption = "",
    hub: HubOption = None,
    cache: CacheOption = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="A file for all figures.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="A file for the tables.")] = None,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Print the scores of every subset, too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of intervals and of chance.")] = 0,
    executor: ExecutorOption = "in_process",
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
) -> None:
    """Measure MODELS on the seven benchmarks, M-RewardBench and suites of your own.

    Rewards are kept by what was scored: a second run scores nothing, a second model only itself.
    """
    with refused_in_a_line():
        shards = shard_settings(executor, workers, gpus_per_worker)
        suites = named_suites(suite)
        for file in (as_json, markdown):
            if file is not None and not file.parent.is_dir():
                raise ValueError(f"{file}: there is no folder {file.parent}; make it first")
        from synpref_dagster.tools.benchmarking import benchmark as measure

        with progress_line() as told:
            report = measure(
                models,
                data=data,
                suites=suites,
                only=[name.strip() for name in only.split(",") if name.strip()],
                hub=hub,
                cache=cache,
                seed=seed,
                shards=shards,
                listener=lambda _: told,
            )
        _write(report, as_json, markdown)
    _print(Console(), report, all_scores=all_scores)


def _write(report: "BenchmarkReport", as_json: Path | None, markdown: Path | None) -> None:
    from synpref_dagster.tools.table import as_json as values, as_markdown

    if as_json is not None:
        text = json.dumps(values(report), indent=1, ensure_ascii=False, allow_nan=False)
        as_json.write_text(text + "\n", encoding="utf-8")
    if markdown is not None:
        markdown.write_text(as_markdown(report), encoding="utf-8")


def _print(console: Console, report: "BenchmarkReport", *, all_scores: bool) -> None:
    from synpref_dagster.tools.table import tables

    for each in tables(report, all_scores=all_scores):
        shown = Table(title=each.title, title_justify="left", box=SIMPLE_HEAD)
        for number, column in enumerate(each.columns):
            shown.add_column(column, justify="right" if number > 1 else "left")
        for row in each.rows:
            shown.add_row(*row)
        console.print(shown, markup=False)
    for result in report.models[0].results:
        if result.missing_subsets:
            missing = ", ".join(result.missing_subsets)
            plain(console, f"{result.benchmark} is partial: without {missing}")
    for note in report.notes:
        plain(console, note)
    for model in report.models:
        kept = f"{model.num_kept:,} were kept"
        plain(console, f"{model.name}: {model.num_scored:,} responses scored, {kept}")
