"""Looking at files, folders and hub ids: which of them read as pairs, and what the others are.

A folder is one source where all that lies in it reads alike; else its folders and files are looked
at one by one. Rows are read by the readers that a campaign reads them with.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from synpref_dagster.pairs.record import ids_of_all
from synpref_dagster.settings.addresses import is_hub_id
from synpref_dagster.sources.files.encodings import NOT_UTF8, first_bad_line
from synpref_dagster.sources.files.folders import (
    DELTA,
    SPLITS,
    STATE,
    is_no_data,
    source_files,
)
from synpref_dagster.sources.public_sets import PUBLIC_SETS
from synpref_dagster.sources.reading import format_of, read_source
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.survey.columns import EXAMPLE, guessed_codes, guessed_columns
from synpref_dagster.sources.survey.found import Found, FoundLicence, FoundSource, PassedOver
from synpref_dagster.sources.survey.licence_files import is_about_data, licence_of, says_of_itself
from synpref_dagster.storage.damage import file_hash

COUNTED_ROWS = 200_000
"""Rows of a file that are read to count its pairs."""
MAX_FILES = 5_000
NO_FORMAT = "no known preference format"  # how the readers' refusal begins
NO_TEXT = "is neither JSON nor a table"
NO_DATA, EMPTY, MODEL = "no data by its name", "empty", "a model"
_ENDING = re.compile(
    r"(\.(jsonl?|ndjson|csv|tsv|parquet|arrow|feather|gz|zstd?|bz2|xz|lz4|txt))+$", re.IGNORECASE
)
_BY_WHOM = {
    name: {each.labels for each in PUBLIC_SETS if each.format == name}
    for name in {each.format for each in PUBLIC_SETS}
} | {"crowd_votes": {"human"}, "oasst_trees": {"human"}}


def look(places: Sequence[str]) -> Found:
    """All sources at some places, each under a name of its own.

    Args:
        places: files, folders, and ids of hub data sets.

    Raises:
        ValueError: a place is none of these, or holds more files than anybody means.
    """
    found = _once(reduce(lambda one, two: one + two, map(_at, places), Found()))
    return replace(found, sources=tuple(_named(found.sources)))


def _at(place: str) -> Found:
    path = Path(place)
    if path.is_dir():
        return _folder(path, path, seen=set(), may_be_one=not _is_working_folder(path))
    if path.is_file():
        return _file(path, path.parent)
    if "://" in place:
        return _one(place, [place], top=None)
    if is_hub_id(place):
        return _hub(place)
    raise ValueError(f"{place!r} is no file or folder here, and no id of a hub data set")


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model: its configuration and weights."""
    kinds = ("*.safetensors", "*.gguf", "*.bin")
    return (folder / "config.json").is_file() and any(any(folder.glob(each)) for each in kinds)


def _is_working_folder(path: Path) -> bool:
    return path.resolve() == Path.cwd()


def _folder(folder: Path, top: Path, *, seen: set[str], may_be_one: bool) -> Found:
    """What lies in a folder: one source where it may be one, else whatever is in it."""
    real = os.path.realpath(folder)
    if real in seen:
        return Found()
    seen.add(real)
    try:
        inside = sorted(folder.iterdir(), key=lambda each: each.name)
    except OSError as error:
        return Found(passed=(PassedOver(str(folder), str(error.strerror)),))
    if is_model(folder):
        return Found(passed=(PassedOver(str(folder), MODEL),))
    if {SPLITS, STATE, DELTA} & {each.name for each in inside}:
        return _saved(folder, top)
    parts, folders = [], 0
    for each in inside:
        if each.is_dir() and each.name[0] not in "._":
            parts.append(_folder(each, top, seen=seen, may_be_one=True))
            folders += bool(parts[-1].sources) and says_of_itself(each)
        elif not each.is_dir():
            parts.append(_file(each, top))
        if len(seen) + len(parts) > MAX_FILES:
            raise ValueError(f"more than {MAX_FILES:,} files below {top}: name folders in it")
    found = _once(_of_one_code(reduce(lambda one, two: one + two, parts, Found()), folder))
    if not may_be_one or folders or not _is_one(found):
        return found
    return replace(found, sources=(replace(_sum(found.sources), place=str(folder)),))


def _once(found: Found) -> Found:
    """What was found without sources whose files are, all of them, in another one, too."""
    kept, passed = [], []
    for number, source in enumerate(found.sources):
        earlier, later = found.sources[:number], found.sources[number + 1 :]
        around = [each for each in earlier if source.digests <= each.digests]
        around += [each for each in later if source.digests < each.digests]
        if not source.digests or not around:
            kept.append(source)
        elif source.place == around[0].place:
            passed.append(PassedOver(source.place, "named twice, and taken once", blocks=False))
        else:
            why = f"the same content as {around[0].place}, which is taken once"
            passed.append(PassedOver(source.place, why, blocks=False))
    return Found(tuple(kept), (*found.passed, *passed))


def _of_one_code(found: Found, folder: Path) -> Found:
    """What was found without files of a folder whose winners stand under different numbers.

    One in which 0 and 1 stand may have a tie under 0 where its neighbour has 1 and 2.
    """
    coded = [
        each
        for each in found.sources
        if "codes" in each.options and Path(each.place).parent == folder
    ]
    if len({repr(each.options["codes"]) for each in coded}) < 2:
        return found
    why = (
        "its winners stand under other numbers than those of a file beside it: name it as a source "
        f"with {EXAMPLE}, as it is"
    )
    passed = [PassedOver(each.place, why) for each in coded]
    kept = tuple(each for each in found.sources if each not in coded)
    return Found(kept, (*found.passed, *passed))


def _is_one(found: Found) -> bool:
    """Whether a folder reads as one source: all of it alike, and nothing in it refused."""
    kinds = {source.alike() for source in found.sources}
    return len(kinds) == 1 and not any(each.blocks for each in found.passed)


def _sum(sources: Sequence[FoundSource]) -> FoundSource:
    return reduce(FoundSource.with_more, sources)


def _saved(folder: Path, top: Path) -> Found:
    """A data set that `datasets` saved, or a table whose files cannot be taken one by one."""
    options: dict[str, Any] = {}
    try:
        files = source_files(str(folder))
    except ValueError as error:
        split = re.search(r'split = "([^"]+)"', str(error))
        if split is None:
            return Found(passed=(PassedOver(str(folder), _without_source(error)),))
        options = {"split": _training_split(str(error)) or split[1]}
        files = source_files(str(folder), split=options["split"])
    found = _one(str(folder), [str(each) for each in files.data], top=top, options=options)
    passed = (PassedOver(each, NO_DATA, blocks=False) for each in files.skipped)
    return found + Found(passed=tuple(passed))


def _training_split(message: str) -> str | None:
    listed = re.search(r"holds the splits (.*?): choose", message)
    names = listed[1].split(", ") if listed else []
    return next((name for name in names if name.startswith("train")), None)


def _file(file: Path, top: Path) -> Found:
    """What a file is, by its name first."""
    place = str(file)
    if is_no_data(file.name) or is_about_data(file.name):
        # A folder's reader passes over names that are no data; a SOURCE.txt it would read.
        return Found(passed=(PassedOver(place, NO_DATA, blocks=not is_no_data(file.name)),))
    if file.is_symlink() and not file.exists():
        return Found(passed=(PassedOver(place, "a link to a file that is not there"),))
    if file.suffix == ".toml":
        return Found(passed=(PassedOver(place, "settings, no data"),))
    try:
        place.encode("utf-8")
        if file.stat().st_size == 0:
            return Found(passed=(PassedOver(place, EMPTY, blocks=False),))
    except UnicodeEncodeError:
        return Found(passed=(PassedOver(ascii(place), "its name is no text"),))
    except OSError as error:
        return Found(passed=(PassedOver(place, str(error.strerror)),))
    return _one(place, [place], top=top)


def _hub(hub_id: str) -> Found:
    """A data set of the hub, as the table of public sets knows it; nobody reads it for that."""
    known = [each for each in PUBLIC_SETS if each.hub_id == hub_id]
    if not known:
        what = "a hub id that docs/sources.md does not list: download it and name its folder"
        return Found(passed=(PassedOver(hub_id, what),))
    source = FoundSource(
        name=hub_id.rpartition("/")[2],
        place=hub_id,
        is_on_hub=True,
        format=known[0].format,
        options=dict(known[0].hub_options),
        origin="synthetic" if known[0].labels == "synthetic" else "human",
        origin_is_guessed=known[0].labels == "mixed",
        licence=FoundLicence(name=known[0].licence, said_by="docs/sources.md"),
        is_counted=False,
    )
    return Found(sources=(source,))


def _one(
    place: str, files: Iterable[str], *, top: Path | None, options: dict[str, Any] | None = None
) -> Found:
    """A source of some files that are read as one, or why it is none."""
    read = []
    for file in files:
        try:
            found = _read(file, dict(options or {}))
        except (ValueError, OSError) as error:
            return Found(passed=(PassedOver(file, _without_source(error)),))
        if found is not None:
            read.append(found)
    total = _sum(read) if read else None
    if total is None or not total.num_pairs:
        why = total.reasons if total else {}
        told = ", ".join(f"{count:,} {reason}" for reason, count in why.items())
        return Found(passed=(PassedOver(place, f"no row of it is a pair ({told or 'no rows'})"),))
    where = Path(place) if Path(place).is_dir() else Path(place).parent
    licence = licence_of(where, top) if top else total.licence
    return Found(sources=(replace(total, place=place, licence=licence),))


def _read(file: str, options: dict[str, Any]) -> FoundSource | None:
    """What one file holds; None where it has no row that can be read."""
    kept = {name: value for name, value in options.items() if name != "split"}
    spec = SourceSpec(name="survey", path=file, origin="human", licence="", options=kept)
    try:
        name = format_of(spec)
    except ValueError as error:
        if NO_TEXT in str(error) and (line := first_bad_line(spec)):
            raise ValueError(line) from error
        # Of what is no table of rows nothing is guessed.
        columns = guessed_columns(spec) if NO_FORMAT in str(error) else None
        if columns is None:
            raise
        kept, options = {"columns": columns, **kept}, {"columns": columns, **options}
        spec = replace(spec, options=kept)
        name = format_of(spec)
    if name is None:
        if line := first_bad_line(spec):
            raise ValueError(line)
        return None
    if codes := guessed_codes(spec, name):
        kept, options = {"codes": codes, **kept}, {"codes": codes, **options}
        spec = replace(spec, options=kept)
    return _counted(FoundSource(place=file, format=name, options=options), spec)


def _counted(found: FoundSource, spec: SourceSpec) -> FoundSource:
    """The source with its counts, of its first rows where there are many."""
    rows, pairs, is_whole = 0, 0, True
    voted, contents, prompts = set[bytes](), set[bytes](), set[bytes]()
    reasons, unread, debates = Counter[str](), Counter[str](), Counter[str]()
    said = hashlib.blake2b()
    for batch in read_source(spec, seed=0):
        rows += batch.num_rows
        pairs += len(batch.pairs)
        pair_ids, content_ids, conversation_ids = ids_of_all(batch.pairs)
        contents.update(content_ids)
        prompts.update(conversation_ids)
        said.update(b"".join(pair_ids))
        said.update(repr(batch.recorded_verdicts).encode())
        voted |= {each.content_id for each in batch.recorded_verdicts}
        reasons.update(each.reason for each in batch.quarantined)
        unread.update(batch.unread_columns)
        debates.update(name for each in batch.pairs if (name := (each.meta or {}).get("debate")))
        if rows >= COUNTED_ROWS:
            is_whole = False
            said.update(_of_bytes(found.place))
            break
    said.update(f"{rows} {sorted(reasons.items())}".encode())
    whom = _BY_WHOM.get(found.format, set())
    return replace(
        found,
        origin="synthetic" if whom == {"synthetic"} else "human",
        origin_is_guessed=whom not in ({"synthetic"}, {"human"}) and not voted,
        num_rows=rows,
        num_pairs=pairs,
        num_voted=len(voted),
        is_counted=is_whole,
        reasons=reasons,
        unread=tuple(unread),
        debates=debates,
        digests=frozenset({said.digest()}),
        contents=_numbers(contents),
        prompts=_numbers(prompts),
        bad_line=(first_bad_line(spec) or "") if NOT_UTF8 in reasons else "",
    )


def _numbers(ids: Iterable[bytes]) -> np.ndarray:
    """(n,) uint64, ascending: the first eight bytes of each id."""
    return np.unique(np.frombuffer(b"".join(ids), dtype=np.uint64)[::2])


def _of_bytes(place: str) -> bytes:
    """What tells a file that was not read to its end from others."""
    return (file_hash(Path(place)) if Path(place).is_file() else place).encode()


def _without_source(error: Exception) -> str:
    """An error in one short line, without what is said to somebody who has a profile."""
    text = " ".join(str(error).split()).removeprefix("source 'survey': ")
    return text.partition(". Known formats:")[0][:400]


def _named(sources: Sequence[FoundSource]) -> Iterable[FoundSource]:
    """The sources with names that can be folders, each its own, as short as they may be."""
    lone = Counter(os.path.dirname(each.place) for each in sources)  # noqa: PTH120 - also s3://
    words = [_words(each, is_lone=lone[os.path.dirname(each.place)] == 1) for each in sources]  # noqa: PTH120
    short = [_plain(each[-1:]) for each in words]
    taken: set[str] = set()
    for source, parts, name in zip(sources, words, short, strict=True):
        wanted = base = name if short.count(name) == 1 else _plain(parts[-2:])
        number = 2
        while wanted.lower() in taken:
            wanted, number = f"{base}-{number}", number + 1
        taken.add(wanted.lower())
        yield replace(source, name=wanted)


def _words(source: FoundSource, *, is_lone: bool) -> list[str]:
    """The parts of a place that names are made of; a folder's only file is called like the folder.

    A file may have its ending only where the name of a folder says nothing.
    """
    parts = [part for part in source.place.split("/") if part not in ("", ".", "..")]
    if source.is_on_hub or not parts:
        return parts or ["source"]
    is_file = _ENDING.search(parts[-1]) is not None
    parts[-1] = _ENDING.sub("", parts[-1])
    return parts[:-1] if is_file and is_lone and len(parts) > 1 else parts


def _plain(words: Sequence[str]) -> str:
    text = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(words)).strip("._-")
    return text[:90] or "source"
