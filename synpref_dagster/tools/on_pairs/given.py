"""What a tool is given: pairs, tables of settings, and a place where its output may be."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.settings.models import TAGS
from synpref_dagster.sources.files.folders import source_files
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import QuarantinedRow
from synpref_dagster.sources.registry import FORMATS
from synpref_dagster.storage.atomic import beside, put_in_place
from synpref_dagster.tools.rows import AUTO, SOURCE, Input, Reading

Given = str | Path | Sequence[PreferencePair]
"""A file or folder in any layout that sources may have, or pairs that are there already."""

Place = tuple[str, int]
KNOWN = " Known formats:"
"""Where an error about an unknown layout begins to list all of them."""


@dataclass(kw_only=True, slots=True)
class GivenPairs:
    """What was read."""

    pairs: list[PreferencePair]
    reading: Reading
    where: list[Place] = field(default_factory=list)
    """File and row of each pair; of a list no file, and its place there."""
    aside: list[dict[str, Any]] = field(default_factory=list)
    """Rows that are no pair: file, row, reason, detail and their beginning."""


def given_pairs(given: Given, how: Input | None = None) -> GivenPairs:
    """Read pairs, all of them.

    Args:
        given: what holds them.
        how: layout, columns and seed; its path is not looked at.

    Raises:
        ValueError: no such file, or it holds no pairs of a known layout; one line.
    """
    found = GivenPairs(pairs=[], reading=Reading(kind="pairs"))
    for batch in pair_batches(given, found, how):
        found.pairs += [pair for _, pair in batch]
        found.where += [where for where, _ in batch]
    return found


def pair_batches(
    given: Given, found: GivenPairs, how: Input | None = None, *, split: str | None = None
) -> Iterator[list[tuple[Place, PreferencePair]]]:
    """Read pairs a batch at a time, each with its file and row; a list is one batch.

    Args:
        given: what holds them.
        found: counts what is read, and takes up the rows that are no pair.
        how: as for `given_pairs`.
        split: of a folder in which `datasets` saved several.

    Raises:
        ValueError: as `given_pairs`.
    """
    if not isinstance(given, str | Path):
        yield _listed(given, found)
        return
    asked, place = how or Input(path=""), str(given)
    if asked.layout not in (AUTO, *FORMATS):
        raise ValueError(f"unknown format {asked.layout!r}: use {AUTO}, {', '.join(FORMATS)}")
    if split is not None and not Path(place).is_dir():
        raise ValueError(f"{place} is one file, and has no split {split!r}: take the option out")
    try:
        files = source_files(place, split=split)
        if not files.data:
            raise ValueError(f"no file below {place}")
        found.reading.skipped = [Path(each).name for each in files.skipped if each]
        for path in map(str, files.data):
            yield from _read(found, asked, path, name=_name(place, path))
    except ValueError as error:
        told, is_unknown, _ = str(error).partition(KNOWN)
        more = " Layouts stand in docs/sources.md; --column KNOWN=YOURS renames a column"
        line = told.replace(f"source {SOURCE!r}", place) + (more if is_unknown else "")
        raise ValueError(line) from error


def _listed(
    pairs: Sequence[PreferencePair], found: GivenPairs
) -> list[tuple[Place, PreferencePair]]:
    if wrong := [each for each in pairs if not isinstance(each, PreferencePair)]:
        raise ValueError(f"{type(wrong[0]).__name__} is no PreferencePair: give pairs or a path")
    found.reading.num_rows = found.reading.num_items = len(pairs)
    return [(("", row), pair) for row, pair in enumerate(pairs)]


def write_aside(found: GivenPairs, target: Path) -> Path | None:
    """Write the rows that are no pair; without any, none are left there of an earlier call.

    Args:
        found: what was read.
        target: a `.jsonl` file.
    """
    if not found.aside:
        target.unlink(missing_ok=True)
        return None
    write_lines(target, found.aside)
    return target


def write_lines(target: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON lines; the file is there whole or not at all."""
    part = beside(target)
    with part.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    put_in_place(part, target)


def refuse_lost(output: Path, read: Iterable[object]) -> None:
    """Refuse an output that something stands in the way of, or that would replace what is read.

    Args:
        output: file or folder that will be written.
        read: what else the tool is given; what is no path is passed over.

    Raises:
        ValueError: in one line.
    """
    if not output.parent.is_dir():
        raise ValueError(f"{output}: there is no folder {output.parent}; make it first")
    target = output.resolve()
    for each in read:
        place = Path(each) if isinstance(each, str | Path) else None
        if place is None or not place.exists():
            continue
        if place.resolve().is_relative_to(target):
            raise ValueError(f"{output} holds {each}, which would be lost; name another output")
        if place.is_dir() and target.is_relative_to(place.resolve()):
            raise ValueError(f"{output} lies in {each}, which is read; name a place outside")


def given_table(
    settings: str | Path | Mapping[str, Any] | None, changes: Sequence[str] = ()
) -> dict[str, Any]:
    """A table of settings: that of a TOML file, or of Python, with single settings changed.

    Args:
        settings: the file or the table.
        changes: `name=value` each, in TOML; `lora.rank=16` reaches into a table, and a word
            needs no quotes.

    Raises:
        ValueError: it is no TOML, or a change is none.
    """
    if isinstance(settings, str | Path):
        try:
            table = tomllib.loads(Path(settings).read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{settings} is no TOML: {error}") from error
        except OSError as error:
            raise ValueError(f"{settings}: {error.strerror or error}") from error
    else:
        table = dict(settings or {})
    for change in changes:
        table = _merged(table, _change(change))
    return table


def checked(kind: Any, table: Mapping[str, Any], *, what: str) -> Any:
    """A table as a section of a profile, under the same rules.

    Args:
        kind: the section's type, or a union of such.
        table: its settings.
        what: what the table is called.

    Raises:
        ValueError: in one line, all that is wrong in it.
    """
    try:
        return TypeAdapter(kind).validate_python(table)
    except ValidationError as error:
        members = {tag for names in TAGS.values() for tag in names}
        problems = [
            ".".join([what, *(str(part) for part in each["loc"] if part not in members)])
            + f": {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)
        ]
        raise ValueError("; ".join(problems)) from None


def _change(text: str) -> dict[str, Any]:
    name, separator, value = (part.strip() for part in text.partition("="))
    if not (separator and name and value):
        raise ValueError(f"{text!r}: write NAME=VALUE, like learning_rate=1e-5")
    for spelled in (value, json.dumps(value)):
        try:
            return tomllib.loads(f"{name} = {spelled}")
        except tomllib.TOMLDecodeError:
            continue
    raise ValueError(f"{text!r}: {name} is no name of a setting")


def _merged(table: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for name, value in change.items():
        old = merged.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(old, value) if both and old is not None else value
    return merged


def _read(
    found: GivenPairs, asked: Input, path: str, *, name: str
) -> Iterator[list[tuple[Place, PreferencePair]]]:
    counted = found.reading
    for batch in read_source(asked.spec(path), seed=asked.seed):
        counted.num_rows += batch.num_rows
        counted.num_outside += batch.num_outside
        counted.num_items += len(batch.pairs)
        for column, number in batch.unread_columns.items():
            counted.unread[column] = counted.unread.get(column, 0) + number
        for row in batch.quarantined:
            counted.quarantined[row.reason] = counted.quarantined.get(row.reason, 0) + 1
            found.aside.append(_told(row, name))
        yield [((name, pair.meta["row"]), pair) for pair in batch.pairs]


def _told(row: QuarantinedRow, name: str) -> dict[str, Any]:
    told = {"file": name, "row": row.row, "reason": row.reason}
    return {**told, "detail": row.detail, "raw": row.raw}


def _name(root: str, path: str) -> str:
    """Below a folder a file is called by its path there."""
    start = root.rstrip("/") + "/"
    return path.removeprefix(start) if path.startswith(start) else Path(path).name
