"""Benchmark files -> canonical items, from local paths or from the Hugging Face hub.

A local source is a file (.json, .jsonl, .parquet, each also .gz except Parquet) or a folder of
them, read in sorted order. The number of rows read always equals the number of items returned.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from synpref_dagster.benchmarks.items import BenchmarkItem
from synpref_dagster.benchmarks.raw_layouts import RawRow
from synpref_dagster.benchmarks.suite import SUITE, Benchmark, HubDataset

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet")
# No published benchmark file is near this size; a gzip that grows beyond it is not one.
MAX_FILE_BYTES = 2 * 1024**3


def load_items(
    benchmark: Benchmark, path: str | Path | None = None, *, revision: str | None = None
) -> list[BenchmarkItem]:
    """All items of one benchmark.

    Args:
        benchmark: the suite's row.
        path: local file or folder; without it the benchmark's hub datasets are read.
        revision: hub revision to read instead of the pinned one (only without `path`).

    Raises:
        ValueError: nothing to read, a row without the published shape, or no hub dataset.
    """
    if path is not None:
        raw_rows: Iterator[RawRow] = read_rows(Path(path))
    elif benchmark.hub:
        raw_rows = (row for dataset in benchmark.hub for row in read_hub(dataset, revision))
    else:
        raise ValueError(f"{benchmark.name} is not on the hub; give the path of a local copy")
    items = with_unique_ids(benchmark.parse(raw) for raw in raw_rows)
    if not items:
        raise ValueError(f"{benchmark.name}: no rows in {path or benchmark.hub}")
    return items


def load_suite(folder: str | Path) -> dict[str, list[BenchmarkItem]]:
    """Items of all seven benchmarks below one folder, by benchmark name, in the suite's order.

    Raises:
        ValueError: a benchmark has no file or folder there; the message lists the names tried.
    """
    return {
        benchmark.name: load_items(benchmark, find_local(benchmark, Path(folder)))
        for benchmark in SUITE
    }


def find_local(benchmark: Benchmark, folder: Path) -> Path:
    """The benchmark's file or folder below `folder`: its name or an alias, with any suffix."""
    names = [
        stem + suffix for stem in (benchmark.name, *benchmark.aliases) for suffix in ("", *SUFFIXES)
    ]
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise ValueError(f"{benchmark.name}: none of {names} is in {folder}")


def read_rows(path: Path) -> Iterator[RawRow]:
    """Rows of a file, or of all files below a folder, with their origin and 0-based number.

    Raises:
        ValueError: the path does not exist, has an unknown suffix, or a row is not an object.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.name.endswith(SUFFIXES) and p.is_file())
        # The folder's own name stays in the origin: RMB and PPE sets are recognised by it.
        origins = [(path.name / p.relative_to(path)).as_posix() for p in files]
    elif path.is_file():
        files, origins = [path], ["/".join(path.parts[-4:])]
    else:
        raise ValueError(f"{path} is neither a file nor a folder")
    for file, origin in zip(files, origins, strict=True):
        for number, values in enumerate(_read_file(file)):
            if not isinstance(values, Mapping):
                raise ValueError(f"{file} row {number} is {type(values).__name__}, not an object")
            yield RawRow(values, origin, number)


def read_hub(dataset: HubDataset, revision: str | None = None) -> Iterator[RawRow]:
    """Rows of a hub dataset at the given or pinned revision; the origin is hub id and config."""
    from datasets import load_dataset

    config = (dataset.config,) if dataset.config else ()
    rows = load_dataset(
        dataset.hub_id, *config, split=dataset.split, revision=revision or dataset.revision
    )
    origin = "/".join((dataset.hub_id, *config))
    for number, values in enumerate(rows):
        yield RawRow(values, origin, number)


def _read_file(file: Path) -> Iterable[Any]:
    if file.name.endswith(".parquet"):
        return pq.read_table(file).to_pylist()
    if not file.name.endswith(SUFFIXES):
        raise ValueError(f"{file} has none of the suffixes {', '.join(SUFFIXES)}")
    opener = gzip.open if file.name.endswith(".gz") else open
    with opener(file, "rb") as handle:
        data = handle.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{file} holds more than {MAX_FILE_BYTES} bytes; it is no benchmark file")
    try:
        text = data.decode(json.detect_encoding(data))  # a byte order mark is no part of it
        if text.lstrip()[:1] == "[":
            return list(json.loads(text))
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error


def with_unique_ids(items: Iterable[BenchmarkItem]) -> list[BenchmarkItem]:
    """The items, a repeated id made unique: the second becomes "id#2".

    Rewards are keyed by id, and a repeated row still counts in the published number.
    """
    seen: Counter[str] = Counter()
    unique = []
    for item in items:
        seen[item.item_id] += 1
        count = seen[item.item_id]
        unique.append(item if count == 1 else replace(item, item_id=f"{item.item_id}#{count}"))
    return unique
