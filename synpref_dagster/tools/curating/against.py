"""What must not be in the pairs: first turns of benchmarks, or texts of one's own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from synpref_dagster.benchmarks.items import first_turn_prompts
from synpref_dagster.curation.contamination.rules import BenchmarkPrompt
from synpref_dagster.pairs.record import first_user_turn
from synpref_dagster.pairs.texts import printable, storable
from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.foreign.messages import as_messages, is_messages
from synpref_dagster.sources.records import RowRejected, SourceSpec
from synpref_dagster.storage import DatasetRef, build_dataset, hash_json
from synpref_dagster.tools.curating.given import read_pairs
from synpref_dagster.tools.suites import KNOWN, benchmark_of, find_suites

HUB = "hub"
TEXT_COLUMNS = ("text", "prompt", "question", "instruction", "messages", "conversation")
LAYOUT = "pairs, or a column text, prompt, question, instruction, messages or conversation"
SHOWN = 300


@dataclass(slots=True)
class Against:
    """Texts that are looked for, and what is to be said about them."""

    prompts: list[BenchmarkPrompt] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def dataset(self, uri: str) -> DatasetRef:
        """The texts as the screening of campaigns takes them."""
        rows = [(each.benchmark, each.item_id, each.prompt) for each in self.prompts]
        columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(3)]
        table = pa.Table.from_arrays(columns, names=["benchmark", "item_id", "prompt"])
        return build_dataset(uri, step=str(hash_json(rows)), compute=lambda: table)


def texts_against(against: Sequence[str | Path]) -> Against:
    """Everything that is to be looked for.

    Args:
        against: folders that hold benchmarks in their published layouts; files of a benchmark or
            of texts; `NAME=PATH` for a suite of one's own; names of benchmarks, or `hub` for the
            seven, from the hub.

    Raises:
        ValueError: nothing is there, or nothing is in it; one line says what to do.
    """
    found = Against()
    for each in map(str, against):
        before = len(found.prompts)
        found.prompts += _prompts(each, found.notes)
        if not any(prompt.prompt.strip() for prompt in found.prompts[before:]):
            raise ValueError(f"{each} holds nothing to look for; take it out")
    return found


def _prompts(named: str, notes: list[str]) -> Iterator[BenchmarkPrompt]:
    place = Path(named)
    if place.is_file():
        benchmark = None if place.suffix == ".txt" else benchmark_of(place, place)
        if benchmark is None:
            yield from _texts(place, notes)
            return
        suites = find_suites(named={benchmark: named})
    elif place.is_dir():
        suites = find_suites(data=place)
    elif named == HUB:
        suites = find_suites(hub=True)
    elif named in {benchmark.name for benchmark in KNOWN}:
        suites = find_suites(only=[named], hub=True)
    else:
        name, separator, path = named.partition("=")
        if not (separator and name and path):
            raise ValueError(
                f"{named}: no such file or folder; give one, NAME=PATH, {HUB}, or "
                f"{', '.join(benchmark.name for benchmark in KNOWN)}"
            )
        suites = find_suites(named={name: path})
    notes += suites.notes
    for _, items in suites.found:
        yield from (BenchmarkPrompt(*row) for row in first_turn_prompts(items))


def _texts(file: Path, notes: list[str]) -> Iterator[BenchmarkPrompt]:
    """The texts of a file of one's own, called by the file and their row."""
    read = _lines(file) if file.suffix == ".txt" else _first_turns(file) or _rows(file)
    num_without = 0
    for number, text in read:
        if text is None or not text.strip():
            num_without += 1
        else:
            yield BenchmarkPrompt(printable(file.name), str(number), storable(text))
    if num_without:
        notes.append(f"{file}: {num_without:,} rows without a text are not looked for")


def _first_turns(file: Path) -> list[tuple[int, str | None]] | None:
    """Of a file of pairs what their users ask first; None of any other."""
    try:
        pairs = read_pairs(file)
    except ValueError:
        return None
    found = [(pair.meta["row"], first_user_turn(pair.conversation)) for pair in pairs]
    return [*found, *((row["row"], None) for row in pairs.quarantine)] if found else None


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        yield from enumerate(file.read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text in UTF-8: convert it") from error


def _rows(file: Path) -> Iterator[tuple[int, str | None]]:
    spec = SourceSpec(name="texts", path=str(file), origin="human", licence="")
    column = None
    try:
        for row in read_rows(spec):
            if row.value is None:
                yield row.number, None
                continue
            column = column or _column(row.value, file)
            yield row.number, _text(row.value.get(column))
    except ValueError as error:
        raise ValueError(str(error).replace("source 'texts': ", "")) from error


def _column(row: Mapping[str, Any], file: Path) -> str:
    for name in TEXT_COLUMNS:
        if name in row:
            return name
    shown = printable(", ".join(map(str, row)))[:SHOWN]
    raise ValueError(
        f"{file} is no benchmark that is known and holds no texts: its columns are {shown}; "
        f"give it {LAYOUT}, or a suite of your own as NAME={file}"
    )


def _text(value: object) -> str | None:
    """A text, or the first user turn of messages."""
    if isinstance(value, str):
        return value
    try:
        messages = as_messages(value) if is_messages(value) else None
    except RowRejected:
        return None
    return first_user_turn(messages) if messages else None  # type: ignore[arg-type]
