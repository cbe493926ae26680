"""A pair's history on a terminal: its texts, what happened in each box, and what is missing."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from synpref_dagster.cli.explain.event import Event
from synpref_dagster.cli.explain.history import PairHistory
from synpref_dagster.cli.explain.listing import Listed
from synpref_dagster.cli.explain.records import SHOWN_DIGITS
from synpref_dagster.cli.explain.search import FoundInQuarantine
from synpref_dagster.cli.explain.words import DECISION_WORDS, DROP_WORDS, LABEL_WORDS, in_words
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.pairs.texts import printable

LEAST_WIDTH = 100
STEP_WIDTH = 27  # the longest name of a step, `consistency_filtered_subset`
TEXT_CHARACTERS = 240
FOUND_CHARACTERS = 90
TEXT_INDENT = 12
DECISION_STYLES = {"kept": "green", "flipped": "yellow"}
MAX_LINES = 6
"""Lines of one detail that are shown; `--json` has them all."""


def print_history(console: Console, history: PairHistory) -> None:
    """Print what happened to a pair, box by box."""
    console = _wide(console)
    console.rule(f"pair {history.ids.pair_id}")
    console.print(_texts(history))
    for box, events in groupby(history.events, key=lambda event: event.box):
        console.print(f"\n[bold]{box}[/bold]")
        console.print(_steps(list(events)))
    if history.not_there_yet:
        names = ", ".join(shortened_names(history.not_there_yet))
        console.print()
        console.print(_two_columns([("not there yet", Text(names, style="yellow"))]))
    console.print()
    console.print(_two_columns([("outcome", Text(printable(history.outcome), style="bold"))]))


def print_candidates(console: Console, pairs: Sequence[PreferencePair]) -> None:
    """Print ids with the beginning of their texts."""
    console = _wide(console)
    for pair in pairs:
        console.print(Text.assemble((pair.pair_id.hex(), "bold"), f"  {pair.source}"))
        turns = " ".join(turn["content"] for turn in pair.conversation)
        texts = [("", turns), ("chosen", pair.chosen), ("rejected", pair.rejected)]
        for name, text in texts:
            console.print(
                Text(f"  {name:<9}{shortened(text, FOUND_CHARACTERS - 5)}"), highlight=False
            )


def print_listed(console: Console, listed: Listed) -> None:
    """Print a pair with what became of it and who says so, its texts cut to the width."""
    console, row = _wide(console), listed.row
    words = {**DROP_WORDS, **DECISION_WORDS}
    console.print(
        Text.assemble(
            (row["pair_id"], "bold"),
            f"  {printable(row['source'])}, {listed.category or 'no category'}\n  ",
            (row["decision"], DECISION_STYLES.get(row["decision"], "dim")),
            f": {in_words(words, row['reason'])} ({row['reason']})",
        ),
        highlight=False,
        soft_wrap=True,
    )
    if said := _said_by_all(listed):
        console.print(Text(f"  {said}"), highlight=False, soft_wrap=True)
    for name, text in _texts_of(listed.pair):
        line = f"  {name:<9}{shortened(text, console.width - TEXT_INDENT)}"
        console.print(Text(line, no_wrap=True, overflow="ellipsis"), highlight=False)
    console.print()


def print_quarantined(console: Console, rows: Sequence[FoundInQuarantine]) -> None:
    """Print rows that became no pair, and why."""
    console = _wide(console)
    for row in rows:
        title, why = f"{row.source} row {row.row}", in_words(DROP_WORDS, row.reason)
        console.print(Text.assemble((title, "bold"), f"  quarantined: {why}"))
        console.print(Text(f"  {shortened(row.raw, FOUND_CHARACTERS)}"), highlight=False)


def shortened(text: str, characters: int) -> str:
    """The beginning of a text on one line.

    >>> shortened("a   word and another", 10)
    'a word an…'
    """
    line = printable(" ".join(text.split()))
    return line if len(line) <= characters else line[: characters - 1] + "…"


def shortened_names(names: Sequence[str]) -> list[str]:
    """Names of assets, those with a common first part together.

    >>> shortened_names(["wild_pool", "skywork_reward_v2/qwen3-4b", "skywork_reward_v2/qwen3-8b"])
    ['wild_pool', 'skywork_reward_v2 (qwen3-4b, qwen3-8b)']
    """
    together: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition("/")
        together.setdefault(first, []).extend([rest] if rest else [])
    return [f"{first} ({', '.join(rest)})" if rest else first for first, rest in together.items()]


def _wide(console: Console) -> Console:
    # A pipe has no width of its own; 80 columns would break most lines.
    if console.width >= LEAST_WIDTH:
        return console
    return Console(file=console.file, width=LEAST_WIDTH, no_color=console.no_color)


def _two_columns(rows: Sequence[tuple[str, RenderableType]]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=STEP_WIDTH, no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    return Padding(table, (0, 0, 0, 2))


def _texts(history: PairHistory) -> Padding:
    pair = history.pair
    turns = [(turn["role"], turn["content"]) for turn in pair.conversation]
    rows = [*turns, ("chosen", pair.chosen), ("rejected", pair.rejected)]
    return _two_columns([(name, Text(shortened(text, TEXT_CHARACTERS))) for name, text in rows])


def _steps(events: Sequence[Event]) -> Padding:
    rows: list[tuple[str, RenderableType]] = []
    before = ""
    for event in events:
        # The box names the iteration already.
        step = event.step.rpartition("/")[2]
        rows.append((step if step != before else "", Text(printable(event.what))))
        rows += [("", _detail(line)) for line in detail_lines(event.facts)]
        before = step
    return _two_columns(rows)


def _said_by_all(listed: Listed) -> str:
    """What the witnesses and people say about the label of a pair; nobody is left out unsaid."""
    row, parts = listed.row, []
    for name, title in (("best_margin", "best RM"), ("gold_margin", "gold RM")):
        if row[name] is not None:
            parts.append(f"{title} {row[name]:+.2f}")
    for title, label in (("judges", row["judge_label"]), ("people", listed.human_label)):
        if label is not None and (label or title == "people"):
            parts.append(f"{title} {LABEL_WORDS[label]}")
    return ", ".join(parts)


def _texts_of(pair: PreferencePair | None) -> list[tuple[str, str]]:
    """The last turn and both responses, by what they are called."""
    if pair is None:
        return [("texts", "no longer in the pool: a later reading left the pair out")]
    turns = [turn["content"] for turn in pair.conversation]
    return [("asked", turns[-1]), ("chosen", pair.chosen), ("rejected", pair.rejected)]


def _detail(line: str) -> Padding:
    return Padding(Text(printable(line), style="dim"), (0, 0, 0, 2))


def detail_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """What there is to say besides an event's sentence: people, votes, exemplars, neighbours."""
    for name, line in DETAILS.items():
        rows = facts.get(name) or []
        yield from (line(row) for row in rows[:MAX_LINES])
        if len(rows) > MAX_LINES:
            yield f"and {len(rows) - MAX_LINES} more"
    for name, value in facts.get("attributes", {}).items():
        if name in FREE_TEXT:
            yield f"{name.replace('_', ' ')}: {value}"
    for name, title in ID_LISTS.items():
        if ids := facts.get(name):
            more = f" and {len(ids) - MAX_LINES} more" if len(ids) > MAX_LINES else ""
            yield f"{title} {' '.join(each[:SHOWN_DIGITS] for each in ids[:MAX_LINES])}{more}"


def _person(row: Mapping[str, Any]) -> str:
    said = LABEL_WORDS[row["verdict"]] if row["verdict"] else "a tie"
    parts = [f"{row['annotator']}: {said if row['decided'] else 'cannot decide'}"]
    parts += [f"{name} is {value}" for name, value in row["corrections"].items()]
    if row["seconds"]:
        parts.append(f"{row['seconds']:.0f} s")
    if row["created_at"]:
        moment = time.gmtime(row["created_at"])
        parts.append(time.strftime("%Y-%m-%d %H:%M UTC", moment))
    return ", ".join(parts)


def _vote(row: Mapping[str, Any]) -> str:
    counts = f"{row['num_verdicts']} verdicts, score {row['score']:+.2f}"
    abstained = f", abstained {row['num_abstained']} times" if row["num_abstained"] else ""
    return f"{row['judge']}: {LABEL_WORDS[row['vote']]}, {counts}{abstained}"


def _alike(row: Mapping[str, Any]) -> str:
    relation = row["relation"].replace("_", " ")
    name = row["pair_id"][:SHOWN_DIGITS]
    return f"{name} from {row['source']}: {relation}, similarity {row['similarity']:.2f}"


def _same_meaning(row: Mapping[str, Any]) -> str:
    name = row["pair_id"][:SHOWN_DIGITS]
    return f"{name} from {row['source']}: cosine {row['cosine']:.2f}, words {row['similarity']:.2f}"


DETAILS: Mapping[str, Callable[[Any], str]] = {
    "people": _person,
    "votes": _vote,
    "alike": _alike,
    "alike_in_meaning": _same_meaning,
}
"""Fact -> how one of its rows reads."""
FREE_TEXT = ("desired_attributes", "annotation_guideline")
"""Attributes that the sentence leaves out."""
ID_LISTS = {"exemplars": "exemplars shown:", "pulled": "namely"}
"""Fact -> what comes before its ids."""
