"""Benchmarks that are at hand: found below a folder by their layout, named by path, or on the hub.

A file belongs to the benchmark whose layout its first row has. Copies of rows that were read
already are left out and said, as are files beside them: a headline counts no item twice.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from synpref_dagster.benchmarks.custom import left_out, load_custom
from synpref_dagster.benchmarks.items import BenchmarkItem
from synpref_dagster.benchmarks.loaders import SUFFIXES, load_items, read_rows, with_unique_ids
from synpref_dagster.benchmarks.plugins import PLUGINS, known_benchmark
from synpref_dagster.benchmarks.raw_layouts import RawRow
from synpref_dagster.benchmarks.suite import SUITE, Benchmark, check_subsets
from synpref_dagster.pairs.texts import first_line
from synpref_dagster.sources.files.rows import read_rows as read_file_rows
from synpref_dagster.sources.formats.own_suites import own_rows
from synpref_dagster.sources.records import SourceSpec

KNOWN: tuple[Benchmark, ...] = (*PLUGINS, *SUITE)
LLMBAR, LLMBAR_COLUMNS = "llmbar", {"input", "output_1", "output_2", "label"}
MAX_FILES, MAX_TOLD = 20_000, 3

Suite = tuple[Benchmark, list[BenchmarkItem]]


@dataclass(slots=True)
class Suites:
    """Benchmarks with their items, and what is to be said about them."""

    found: list[Suite] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def subsets(self, name: str) -> tuple[str, ...]:
        """The subsets of a benchmark that are at hand, in its own order."""
        [(benchmark, items)] = [each for each in self.found if each[0].name == name]
        present = {item.group for item in items}
        return tuple(subset for subset in benchmark.subsets if subset in present)


def find_suites(
    *,
    data: Path | None = None,
    named: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    hub: bool = False,
) -> Suites:
    """Every benchmark that is asked for and at hand.

    Args:
        data: folder that is searched; layouts are known by the first row of each file.
        named: benchmark -> file or folder; a published name has its published layout, any other is
            a suite of one's own.
        only: names; empty takes what is found.
        hub: also take from the hub what is neither named nor found.

    Raises:
        ValueError: nothing is at hand, a name is unknown or was not found, or a file is not whole.
    """
    named = dict(named or {})
    known = {benchmark.name for benchmark in KNOWN}
    if unknown := sorted({*only} - known - {*named} - {LLMBAR}):
        raise ValueError(
            f"unknown benchmark {unknown[0]!r}: choose from {', '.join(sorted(known))}"
        )
    suites = Suites()
    for name, path in named.items():
        suites.found.append(_named(name, path))
    if data is not None:
        for found, note in _searched(data, skip={*named}, only=only):
            suites.found.append(found)
            suites.notes += note
    if hub:
        _add_from_hub(suites, only)
    suites.found = _in_order([each for each in suites.found if not only or each[0].name in only])
    have = {benchmark.name for benchmark, _ in suites.found}
    if missing := [name for name in only if name not in have]:
        raise ValueError(f"{', '.join(missing)}: not found {_where(data)}; name it with --suite")
    if not suites.found:
        raise ValueError(f"no benchmark found {_where(data)}: name one with --suite NAME=PATH")
    suites.notes += [*_counted(suites.found), *_left_out(suites.found)]
    return suites


def _where(data: Path | None) -> str:
    return f"below {data}" if data is not None else "without --data"


def _in_order(found: Iterable[Suite]) -> list[Suite]:
    """The seven first, in the paper's order; then plug-ins and suites of one's own."""
    names = [benchmark.name for benchmark in (*SUITE, *PLUGINS)]
    return sorted(found, key=lambda each: [*names, each[0].name].index(each[0].name))


def _named(name: str, path: str) -> Suite:
    place = Path(path)
    if not place.exists():
        raise ValueError(f"{name}: no file or folder at {path}; correct the path")
    if name in {benchmark.name for benchmark in KNOWN}:
        benchmark = known_benchmark(name)
        items = load_items(benchmark, place)
        return _checked(benchmark, items)
    first = _first_row(next(_files(place), place), place)
    if first is not None and first.values.keys() >= LLMBAR_COLUMNS:
        return _llmbar([*_files(place)], place, name=name)
    return load_custom(name, place, read=partial(own_rows, name))


def _checked(benchmark: Benchmark, items: list[BenchmarkItem]) -> Suite:
    present = [name for name in benchmark.subsets if name in {item.group for item in items}]
    check_subsets(benchmark, items, present)
    return benchmark, items


def _add_from_hub(suites: Suites, only: Sequence[str]) -> None:
    have = {benchmark.name for benchmark, _ in suites.found}
    for benchmark in (*SUITE, *PLUGINS):
        if benchmark.name in have or (only and benchmark.name not in only):
            continue
        if not only and benchmark in PLUGINS:
            continue  # beside the seven: asked for by name
        if not benchmark.hub:
            suites.notes.append(f"{benchmark.name} is not on the hub: name a copy with --suite")
            continue
        try:
            suites.found.append(_checked(benchmark, load_items(benchmark)))
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(
                f"{benchmark.name}: the hub does not give {benchmark.hub[0].hub_id} "
                f"({first_line(error)}): connect this machine, or name local copies with --data"
            ) from error


def _searched(
    data: Path, *, skip: set[str], only: Sequence[str]
) -> Iterator[tuple[Suite, list[str]]]:
    """The benchmarks whose files lie below a folder, each with what is to be said about it."""
    if not data.is_dir():
        raise ValueError(f"{data} is no folder; give the one below which benchmarks lie")
    files: dict[str, list[Path]] = {}
    for file in _files(data):
        name = benchmark_of(file, data)
        if name is not None and name not in skip and (not only or name in only):
            files.setdefault(name, []).append(file)
    for name, found in files.items():
        if name == LLMBAR:
            yield _llmbar(found, data), []
            continue
        benchmark = known_benchmark(name)
        items, notes = _merged(benchmark, found, data)
        yield _checked(benchmark, items), notes


def _files(place: Path) -> Iterator[Path]:
    """Files below a folder that may hold a benchmark, by name; hidden ones do not."""
    if place.is_file():
        yield place
        return
    listed = (
        file
        for file in sorted(place.rglob("*"))
        if file.name.endswith(SUFFIXES)
        and not any(part.startswith(".") for part in file.relative_to(place).parts)
        and file.is_file()
    )
    yield from islice(listed, MAX_FILES)


def benchmark_of(file: Path, root: Path) -> str | None:
    """The benchmark whose layout the first row of a file has, if any."""
    raw = _first_row(file, root)
    if raw is None:
        return None
    if raw.values.keys() >= LLMBAR_COLUMNS:
        return LLMBAR
    for benchmark in KNOWN:
        try:
            if benchmark.parse(raw).group in benchmark.subsets:
                return benchmark.name
        except (ValueError, TypeError, AttributeError, KeyError):
            continue
    return None


def _first_row(file: Path, root: Path) -> RawRow | None:
    spec = SourceSpec(name="benchmark", path=str(file), origin="human", licence="")
    try:
        row = next(iter(read_file_rows(spec)), None)
    except ValueError:
        return None
    return RawRow(row.value, _origin(file, root), 0) if row is not None and row.value else None


def _origin(file: Path, root: Path) -> str:
    """Path below the folder that was named, with its name: some subsets stand only there."""
    return (root.name / file.relative_to(root)).as_posix() if root.is_dir() else file.name


def _rows(file: Path, root: Path) -> Iterator[RawRow]:
    for row in read_rows(file):
        yield replace(row, origin=_origin(file, root))


def _merged(
    benchmark: Benchmark, files: Sequence[Path], root: Path
) -> tuple[list[BenchmarkItem], list[str]]:
    """Items of all files; a file that only repeats items of others is left out, and said.

    Single items that are repeated count as often as they stand there, as in published numbers.
    """
    items: list[BenchmarkItem] = []
    seen: dict[str, list[BenchmarkItem]] = {}
    notes = []
    for file in files:
        own = [benchmark.parse(raw) for raw in _rows(file, root)]
        if all(any(_same(item, each) for each in seen.get(item.item_id, ())) for item in own):
            name = file.relative_to(root)
            notes.append(f"{benchmark.name}: {name} repeats items of others and is not counted")
            continue
        for item in own:
            seen.setdefault(item.item_id, []).append(item)
        items += own
    return with_unique_ids(items), notes


def _same(one: BenchmarkItem, other: BenchmarkItem) -> bool:
    return replace(one, meta={}) == replace(other, meta={})


def _llmbar(files: Sequence[Path], root: Path, *, name: str = LLMBAR) -> Suite:
    """LLMBar as a suite of one's own: an instruction, two outputs, which of them follows it."""
    return load_custom(name, root, read=lambda _: (_llmbar_row(raw) for raw in _each(files, root)))


def _each(files: Sequence[Path], root: Path) -> Iterator[RawRow]:
    for file in files:
        yield from _rows(file, root)


def _llmbar_row(raw: RawRow) -> RawRow:
    label = raw.values.get("label")
    if label not in (1, 2):
        return replace(raw, values={}, problem="bad_labels", detail=f"label {label!r}")
    sides = raw.values.get("output_1"), raw.values.get("output_2")
    chosen, rejected = sides if label == 1 else sides[::-1]
    subset = PurePosixPath(raw.origin).parent.name.lower() or LLMBAR
    values = {"id": f"{subset}-{raw.row}", "subset": subset, "prompt": raw.values.get("input")}
    return replace(raw, values={**values, "chosen": chosen, "rejected": rejected})


def _counted(suites: Iterable[Suite]) -> Iterator[str]:
    """What differs from the published set: its headline is not the published figure."""
    for benchmark, items in suites:
        if benchmark.name not in {each.name for each in SUITE}:
            continue
        counts = Counter(item.group for item in items)
        other = [
            f"{counts[name]:,} of {number:,} {name}"
            for name, number in benchmark.expected_counts.items()
            if counts[name] and counts[name] != number
        ]
        is_whole = set(counts) == set(benchmark.subsets)
        if is_whole and len(items) != benchmark.expected_total:
            other.insert(0, f"{len(items):,} of {benchmark.expected_total:,} items")
        if other:
            more = f" and {len(other) - MAX_TOLD} more subsets" if len(other) > MAX_TOLD else ""
            yield f"{benchmark.name}: not the published set, {', '.join(other[:MAX_TOLD])}{more}"


def _left_out(suites: Sequence[Suite]) -> Iterator[str]:
    for name, told in left_out(suites).get("left_out", {}).items():
        reasons = ", ".join(f"{count} {reason}" for reason, count in told["rows_by_reason"].items())
        yield f"{name}: rows left out, {reasons}"
