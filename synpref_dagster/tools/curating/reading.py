"""Files as a raw pool, read by the readers of campaigns, in shards that one process can hold."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from synpref_dagster import __version__
from synpref_dagster.sources.files.folders import source_files
from synpref_dagster.sources.files.identity import content_identity
from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.registry import FORMATS
from synpref_dagster.sources.shards import READ_SCHEMAS, read_file, unread_columns
from synpref_dagster.storage import (
    DatasetRef,
    ShardExecutor,
    build_dataset,
    hash_json,
    iter_tables,
    map_shards,
    read_frame,
    step_key,
)
from synpref_dagster.tools.rows import AUTO, Reading

RENAMING = " Layouts are listed in docs/sources.md; rename columns with --column KNOWN=YOURS"


@dataclass(frozen=True, slots=True)
class Given:
    """Files or folders to read, and how."""

    paths: Sequence[str]
    layout: str = AUTO
    """`auto`, or the name of a format of pairs."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Known name -> name in the data."""
    seed: int = 0
    """Of formats that draw which response is the chosen one."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files that are read, in order; the readers know each as a source of this name."""

    given: Given
    paths: tuple[str, ...]
    names: tuple[str, ...]
    """What outputs call them: below a folder by their path there."""
    skipped: list[str]
    """Files of folders that are no data by their names."""

    def specs(self) -> Iterator[tuple[str, SourceSpec]]:
        """Each file by its name, as the readers want it."""
        options = {"columns": dict(self.given.columns)} if self.given.columns else {}
        for number, (name, path) in enumerate(zip(self.names, self.paths, strict=True)):
            yield (
                name,
                SourceSpec(
                    name=_source(number),
                    path=path,
                    format=self.given.layout,
                    origin="human",
                    licence="",
                    options=options,
                ),
            )

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """What readers say of a source is said of its file."""
        try:
            yield
        except ValueError as error:
            said, known, _ = str(error).partition(" Known formats: ")
            said += RENAMING if known else ""
            for number, (name, path) in enumerate(zip(self.names, self.paths, strict=True)):
                begun = f"source {_source(number)!r}: "
                if begun in said:
                    rest = said.replace(begun, "")
                    said = rest if path in rest or name in rest else f"{name}: {rest}"
            raise ValueError(said) from error


def _source(number: int) -> str:
    return f"file-{number:06d}"


def listed(given: Given) -> Files:
    """The files below what was named, each once.

    Raises:
        ValueError: nothing is named, a path twice, a folder without data, or an unknown format.
    """
    if not given.paths:
        raise ValueError("name at least one file or folder of pairs")
    if repeated := [path for path in given.paths if given.paths.count(path) > 1]:
        raise ValueError(f"{repeated[0]} is named twice; take one out")
    if given.layout not in (AUTO, *FORMATS):
        raise ValueError(f"unknown format {given.layout!r}: use {AUTO}, {', '.join(FORMATS)}")
    paths, names, skipped = [], [], []
    for path in given.paths:
        found = source_files(path)
        data = [str(each) for each in found.data]
        if not data:
            raise ValueError(f"no file below {path}")
        root = path.rstrip("/") + "/"
        paths += data
        names += [p.removeprefix(root) if p.startswith(root) else Path(p).name for p in data]
        skipped += [Path(each).name for each in found.skipped]
    if inside := [path for path in paths if paths.count(path) > 1]:
        raise ValueError(f"{inside[0]} is named by itself and by its folder; take one out")
    unique = [n if names.count(n) == 1 else p for n, p in zip(names, paths, strict=True)]
    return Files(given, tuple(paths), tuple(unique), skipped)


Place = tuple[str, int]
"""File by its name in outputs, and row from 0."""


def cells_of(files: Files, columns: Collection[str]) -> dict[str, dict[Place, Any]]:
    """What stands in some columns of the rows, as it stands there; columns that are nowhere lack.

    Args:
        files: from `listed`.
        columns: names in the data.
    """
    found: dict[str, dict[Place, Any]] = {}
    for name, spec in files.specs():
        with files.named_errors():
            for row in read_rows(spec):
                for column in {*columns} & (row.value or {}).keys():
                    cell = (row.value or {})[column]
                    found.setdefault(column, {})[name, row.number] = cell
    return found


@dataclass(frozen=True, slots=True)
class RawFiles:
    """Files that were read."""

    files: Files
    pairs: DatasetRef
    """`PAIR_SCHEMA`; `source` says which file it is, see `Files.specs`."""
    quarantined: DatasetRef
    """`QUARANTINE_SCHEMA`."""
    reading: Reading

    def number_of(self, source: str) -> int:
        """Which of the files the readers called so, from 0."""
        return int(source.rpartition("-")[2])


def read_files(
    files: Files,
    *,
    uri: str,
    executor: ShardExecutor,
    on_progress: Callable[[int, int], None] | None = None,
) -> RawFiles:
    """Read files into shards of pairs; those that were read before are not read again.

    Args:
        files: from `listed`.
        uri: where shards are kept.
        executor: who reads.
        on_progress: called with (files done, files in all).

    Raises:
        ValueError: a file is gone, or has no layout that is known; one line names it.
    """
    with files.named_errors():
        rows, paths = [], {}
        for _, spec in files.specs():
            about = {name: getattr(spec, name) for name in ("name", "format", "origin")}
            text = json.dumps({**about, "options": dict(spec.options)}, sort_keys=True)
            key = str(hash_json([text, content_identity(str(spec.path))]))
            rows.append({"spec": text, "key": key, "named": ""})
            paths[key] = spec.path
        step = step_key(version=__version__, inputs=[row["key"] for row in rows], params={})
        named = build_dataset(
            f"{uri}/files", step=step, compute=lambda: [pa.Table.from_pylist([r]) for r in rows]
        )
        read = map_shards(
            partial(read_file, paths=paths),
            named,
            uri=uri,
            version=__version__,
            params={"seed": files.given.seed},
            executor=executor,
            outputs=list(READ_SCHEMAS),
            on_progress=on_progress,
        ).outputs
    return RawFiles(files, read["kept"], read["dropped"], _reading(files, read))


def _reading(files: Files, read: Mapping[str, DatasetRef]) -> Reading:
    counts = read_frame(read["counts"]).sum(numeric_only=True)
    quarantined: dict[str, int] = {}
    for table in iter_tables(read["dropped"], ["reason"]):
        for reason in table["reason"].to_pylist():
            quarantined[reason] = quarantined.get(reason, 0) + 1
    unread: dict[str, int] = {}
    for row in unread_columns(iter_tables(read["unread"])):
        unread[row["column"]] = unread.get(row["column"], 0) + row["num_rows"]
    return Reading(
        kind="pairs",
        num_rows=int(counts["num_rows"]),
        num_items=int(counts["num_pairs"]),
        num_unfolded=int(counts["num_unfolded"]),
        num_outside=int(counts["num_outside"]),
        quarantined=quarantined,
        unread=unread,
        skipped=files.skipped,
    )
