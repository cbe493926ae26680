"""Live progress of a campaign on a terminal: one line per asset, fed by Dagster's own events."""

import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, assert_never

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from synpref_dagster.definitions.failures import first_cause, waits_for
from synpref_dagster.pairs.progress import (
    BeforePeople,
    ChunksDone,
    FilesSkipped,
    JudgeReplies,
    ProgressFact,
    ResponsesRead,
    StepsTaken,
    TimeExpected,
    TrackerAway,
    progress_of,
)
from synpref_dagster.resources.sources import UNREAD

EVENT = dg.DagsterEventType
NO_RESULT = re.compile(  # a warning of Dagster about a check that a step did not answer
    r"^Blocking asset check '[^']+' emitted no result in step '(?P<step>[^']+)'"
)
CHECKING = "dagster._core.execution.plan.active"  # the logger of that warning
HEADLINES = {  # metadata worth a word beside a finished asset, in order of interest
    "num_clean": "clean pairs",
    "num_read": "rows read",
    "num_prompts": "prompts",
    "num_vectors": "vectors",
    "gold_accuracy": "accuracy on gold",
    "num_kept": "kept",
    "num_gold": "gold pairs",
    "num_silver": "silver pairs",
    "num_retrieved": "retrieved",
    "num_relabelled": "relabelled",
    "num_recycled": "recycled",
    "num_labelled": "labelled",
    "num_scored": "responses scored",
    "num_for_people": "pairs for people",
    "num_flagged": "pairs with personal data",
    "num_barred_from_gold": "barred from stage 1",
    "num_links": "near-duplicate links",
    "num_pairs": "pairs",
}
WIDTH = 32
MOST_NAMED = 12  # columns in a line


class CampaignProgress(logging.Handler):
    """Shows each asset as it starts and ends; keeps a bar over the run on interactive terminals.

    Asset checks are steps of their own in Dagster, but not for people: they show when they fail.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.DEBUG)
        self.console = console
        self.bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.failures: list[str] = []
        self._task: Any = None
        self._chunks: Any = None
        self._paced: dict[str, Any] = {}
        self._started: dict[str, float] = {}
        self._notes: dict[str, list[str]] = {}
        self._facts: dict[str, str] = {}
        self._stopped: dict[str, str] = {}  # step -> what its blocking check said
        self._asked: dict[str, str] = {}  # step -> what it put before people

    def begin(self, title: str, num_assets: int) -> None:
        """Start a run of `num_assets` assets."""
        if self._task is not None:
            self.bar.remove_task(self._task)
        self._task = self.bar.add_task(escape(title), total=num_assets)
        self._started.clear()
        self._facts.clear()
        self._asked.clear()
        assets = "1 asset" if num_assets == 1 else f"{num_assets} assets"
        self.console.print(f"[bold]{escape(title)}[/bold]  {assets}", highlight=False)

    @contextmanager
    def without_skipped_checks(self) -> Iterator[None]:
        """Hide that checks of skipped steps gave no result; of steps that ran, it is worth a word.

        Dagster warns once for every step that rests on a skipped one, which is skipped as well.
        """

        def says_something(record: logging.LogRecord) -> bool:
            found = NO_RESULT.match(record.getMessage())
            return found is None or found["step"] in self._facts

        logger = logging.getLogger(CHECKING)
        logger.addFilter(says_something)
        try:
            yield
        finally:
            logger.removeFilter(says_something)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log record of Dagster; anything that is no event of a step is left alone."""
        event = getattr(record, "dagster_event", None)
        if isinstance(event, str):
            event = json.loads(event)
        if event is not None and hasattr(event, "event_type"):
            self._show(event)
        elif (fact := progress_of(record)) is not None:
            self._show_fact(fact, str(_step_of(record)))

    def _show_fact(self, fact: ProgressFact, step: str) -> None:
        match fact:
            case ChunksDone():
                self._show_chunks(fact)
            case JudgeReplies():
                self._show_paced(f"judge {fact.judge}", fact)
            case ResponsesRead():
                self._show_paced("backbone reads", fact)
            case StepsTaken():
                self._show_paced(f"trains {fact.model}", fact)
            case BeforePeople():
                self._asked[step] = str(fact)
            case FilesSkipped() | TrackerAway() | TimeExpected():
                self.console.print(f"  {escape(str(fact))}", highlight=False, soft_wrap=True)
            case _:
                assert_never(fact)

    def _show_paced(self, what: str, said: JudgeReplies | ResponsesRead | StepsTaken) -> None:
        """A bar for each that works at a pace: how many, rate, time left; a line in a pipe."""
        if not self.console.is_terminal:
            if not (isinstance(said, StepsTaken) and said.is_short):
                self.console.print(f"  {escape(str(said))}", highlight=False, soft_wrap=True)
            return
        if what not in self._paced:
            self._paced[what] = self.bar.add_task("", total=said.total)
        told = f"{escape(what)}  {escape(said.pace)}"
        task = self._paced[what]
        self.bar.update(task, completed=said.done, total=said.total, description=told)
        if said.done >= said.total:
            self.bar.remove_task(self._paced.pop(what))

    def _show_chunks(self, said: ChunksDone) -> None:
        """A bar of its own for a step that works in chunks."""
        if self._chunks is None:
            self._chunks = self.bar.add_task("chunks", total=said.total)
        told = f"chunks  {escape(said.pace)}".rstrip()
        self.bar.update(self._chunks, completed=said.done, total=said.total, description=told)
        if said.done == said.total:
            self._end_chunks()

    def _end_chunks(self) -> None:
        if self._chunks is not None:
            self.bar.remove_task(self._chunks)
            self._chunks = None

    def _show(self, event: dg.DagsterEvent) -> None:
        key = str(event.step_key)
        if event.event_type == EVENT.STEP_START:
            self._started[key] = time.monotonic()
            if self._task is not None:
                self.bar.update(self._task, description=escape(_asset_name(key)))
        elif event.event_type == EVENT.ASSET_MATERIALIZATION:
            self._facts[key] = _headline(event)
            self._notes[key] = _unread(event)
        elif event.event_type == EVENT.STEP_SUCCESS and key in self._facts:
            self._finish(key, mark="[green]done[/green]  ")
        elif event.event_type == EVENT.STEP_SUCCESS and key in self._asked:
            self._facts[key] = self._asked[key]
            self._finish(key, mark="[yellow]waits[/yellow] ")
        elif event.event_type == EVENT.STEP_FAILURE and waits_for(event):
            self._finish(key, mark="[yellow]waits[/yellow] ")
        elif event.event_type == EVENT.STEP_FAILURE:
            self._finish(key, mark="[red]failed[/red]")
            cause = self._stopped.get(key) or first_cause(event)
            self.failures.append(f"{_asset_name(key)}: {cause}")
        elif event.event_type == EVENT.ASSET_CHECK_EVALUATION:
            self._check(event)

    def _check(self, event: dg.DagsterEvent) -> None:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            about = f": {evaluation.description}" if evaluation.description else ""
            grave = evaluation.severity == dg.AssetCheckSeverity.ERROR
            if grave and evaluation.blocking and evaluation.description:
                self._stopped[str(event.step_key)] = evaluation.description
            mark = "[red]check [/red]" if grave else "[yellow]check [/yellow]"
            name = f"{evaluation.asset_key.to_user_string()} {evaluation.check_name}"
            self.console.print(f"  {mark} {escape(name + about)}", highlight=False, soft_wrap=True)

    def _finish(self, key: str, *, mark: str) -> None:
        seconds = time.monotonic() - self._started.get(key, time.monotonic())
        line = f"{escape(_asset_name(key)):<{WIDTH}} {seconds:6.1f} s  {self._facts.get(key, '')}"
        self.console.print(f"  {mark} {line.rstrip()}", highlight=False, soft_wrap=True)
        for note in self._notes.pop(key, []):
            self.console.print(f"         {escape(note)}", highlight=False, soft_wrap=True)
        self._end_chunks()  # A step that failed or waits left its bar where it stopped.
        if self._task is not None:
            self.bar.advance(self._task)


def progress_logger(progress: CampaignProgress) -> dg.LoggerDefinition:
    """A Dagster logger that feeds `progress`."""

    def build(context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("synpref.progress", level=logging.DEBUG)
        logger.addHandler(progress)
        return logger

    return dg.LoggerDefinition(build, description="Live progress of a campaign on the terminal.")


def _asset_name(step_key: str) -> str:
    return step_key.replace("__", "/")


def _step_of(record: logging.LogRecord) -> str | None:
    told: dict[str, Any] = getattr(record, "dagster_meta", {})
    return told.get("step_key")


def _unread(event: dg.DagsterEvent) -> list[str]:
    """A line for each source with columns that nobody read."""
    metadata = event.step_materialization_data.materialization.metadata
    table = metadata.get(UNREAD)
    if not isinstance(table, dg.TableMetadataValue):
        return []
    named: dict[str, list[str]] = {}
    for record in table.records:
        named.setdefault(str(record.data["source"]), []).append(str(record.data["column"]))
    return [f"source {source}: not read: {_listed(names)}" for source, names in named.items()]


def _listed(names: Sequence[str]) -> str:
    """The first names and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _headline(event: dg.DagsterEvent) -> str:
    metadata = event.step_materialization_data.materialization.metadata
    for name, words in HEADLINES.items():
        if name in metadata:
            value = metadata[name].value
            if isinstance(value, float):
                return f"{value:.3f} {words}"
            return f"{value:,} {words}"
    return ""
