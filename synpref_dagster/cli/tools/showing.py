"""What the tools share on a terminal: options, progress on standard error, refusals in a line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from synpref_dagster.cli.refusals import refuse

if TYPE_CHECKING:
    from synpref_dagster.settings.shards import ShardSettings
    from synpref_dagster.tools.rows import Reading

SECONDS_A_LINE = 10.0
ExecutorOption = Annotated[
    str, typer.Option(help="Who scores: in_process, processes or ray, as [shards] of a profile.")
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Chunks scored at a time, by processes or ray.")
]
GpusOption = Annotated[
    float | None, typer.Option(min=0, help="GPUs of each worker of ray; fractions share one.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="A .parquet or .jsonl file.")]
ColumnOption = Annotated[
    list[str] | None, typer.Option(help="KNOWN=YOURS: a column's name; repeatable.")
]
SeedOption = Annotated[int, typer.Option(help="Of formats that draw the chosen one.")]
LayoutOption = Annotated[str, typer.Option("--format", help="Of pairs: auto, or a format's name.")]
DataOption = Annotated[
    Path | None, typer.Option(help="Folder that is searched for published layouts.")
]
SuiteOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=PATH: a suite of your own, or a published one; repeatable."),
]
OnlyOption = Annotated[str, typer.Option(help="Benchmarks to measure, comma separated.")]
HubOption = Annotated[
    bool | None, typer.Option("--hub/--no-hub", help="Take what is missing from the hub.")
]
CacheOption = Annotated[Path | None, typer.Option(help="Folder in which rewards are kept.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an output.")]


@contextmanager
def refused_in_a_line() -> Iterator[None]:
    """End the command in one line where something it was given cannot be used."""
    try:
        yield
    except (ValueError, OSError) as error:
        refuse(Console(stderr=True), " ".join(str(error).split()))


def shard_settings(executor: str, workers: int | None, gpus: float | None) -> "ShardSettings":
    """The settings that the options stand for.

    Raises:
        ValueError: an executor that is none, or an option that it does not obey.
    """
    from synpref_dagster.settings.shards import RaySettings, ShardSettings

    if executor not in ("in_process", "processes", "ray"):
        raise ValueError(f"--executor {executor!r}: choose in_process, processes or ray")
    if workers is not None and executor == "in_process":
        raise ValueError("--workers: in_process works on one chunk; add --executor processes")
    if gpus is not None and executor != "ray":
        raise ValueError("--gpus-per-worker: only ray obeys it; add --executor ray")
    given = {} if workers is None else {"workers": workers}
    ray = {"ray": RaySettings(gpus_per_model_worker=gpus)} if gpus is not None else {}
    return ShardSettings.model_validate({"executor": executor, **given, **ray})


@contextmanager
def progress_line(
    what: str = "", *, words: "Callable[[Any], str] | None" = None
) -> Iterator[Callable[[Any], None]]:
    """How far a work is: one line that changes on a terminal, else a line now and then.

    Args:
        what: what the line begins with.
        words: makes a line of a fact of `pairs.progress` that has `done` and `total`; without it
            they are `ResponsesRead` of a scoring.
    """
    console = Console(stderr=True)
    told = 0.0

    def told_line(fact: Any) -> str:
        begun = f"{what}: " if what else ""
        if words is not None:
            return begun + words(fact)
        return f"{begun}{fact.done:,} of {fact.total:,} responses scored, {fact.pace}"

    if console.is_terminal:
        with console.status("reading") as status:
            yield lambda fact: status.update(told_line(fact))
        return

    def say(fact: Any) -> None:
        nonlocal told
        if time.monotonic() - told >= SECONDS_A_LINE or fact.done == fact.total:
            told = time.monotonic()
            console.print(told_line(fact), highlight=False, soft_wrap=True, markup=False)

    yield say


@contextmanager
def stage_line() -> Iterator[Callable[[str], None]]:
    """What is done now: one line that changes on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("reading") as status:
            yield status.update
        return
    told = time.monotonic()

    def say(stage: str) -> None:
        nonlocal told
        if time.monotonic() - told >= SECONDS_A_LINE:
            told = time.monotonic()
            console.print(stage, highlight=False, soft_wrap=True, markup=False)

    yield say


def named_columns(given: list[str] | None) -> dict[str, str]:
    """Known name -> name in the data, of `--column KNOWN=YOURS`.

    Raises:
        ValueError: one is written otherwise.
    """
    return dict(_named(each) for each in given or ())


def _named(text: str) -> tuple[str, str]:
    known, separator, own = text.partition("=")
    if not (separator and known.strip() and own.strip()):
        raise ValueError(f"--column {text!r}: write KNOWN=YOURS, like prompt=question")
    return known.strip(), own.strip()


def named_suites(given: list[str] | None) -> dict[str, str]:
    """Name -> path, of `--suite NAME=PATH`.

    Raises:
        ValueError: one is written otherwise.
    """
    suites = {}
    for text in given or ():
        name, separator, path = text.partition("=")
        if not (separator and name.strip() and path.strip()):
            raise ValueError(f"--suite {text!r}: write NAME=PATH, like mine=my_suite.jsonl")
        suites[name.strip()] = path.strip()
    return suites


def say_reading(console: Console, read: "Reading") -> None:
    """What reading came to, so that its numbers add up."""
    outside = f", {read.num_outside:,} outside the part that is read" if read.num_outside else ""
    also = f", {read.num_unfolded:,} more candidates in them" if read.num_unfolded > 0 else ""
    plain(console, f"{read.num_rows:,} rows read{also}: {read.num_items:,} {read.kind}{outside}")
    for reason, number in sorted(read.quarantined.items()):
        plain(console, f"quarantined: {number:,} {reason}")


def say_unread(console: Console, read: "Reading") -> None:
    """What was not read of the data: columns, and files of a folder."""
    for name, number in read.unread.items():
        plain(console, f"column not read: {name}, which held something in {number:,} rows")
    if read.skipped:
        plain(console, f"files not read, no data by their names: {', '.join(read.skipped[:5])}")


def plain(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)
