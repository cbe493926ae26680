"""Where pairs, people's recorded verdicts and benchmarks come from.

Either the files of the profile, or the synthetic world, which is written to disk as ordinary source
files on first use. The world's sealed truth is not reachable from here (see `truth`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from synpref_dagster.benchmarks.custom import load_custom
from synpref_dagster.benchmarks.items import BenchmarkItem, first_turn_prompts
from synpref_dagster.benchmarks.judged import comparisons
from synpref_dagster.benchmarks.loaders import load_items, load_suite
from synpref_dagster.benchmarks.plugins import known_benchmark
from synpref_dagster.benchmarks.suite import BENCHMARK_NAMES, Benchmark, check_subsets
from synpref_dagster.pairs.record import ID_BYTES
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.pool import CROWD_VOTES, SourceSettings
from synpref_dagster.sources.files.content_hashes import ContentHashes
from synpref_dagster.sources.files.folders import SourceFiles, source_files
from synpref_dagster.sources.files.identity import content_identity, listing_identity
from synpref_dagster.sources.files.known_files import (
    READ_APART,
    PoolFile,
    as_facts,
    check_none_gone,
    file_name,
    files_read_before,
    hub_version,
    listed_file,
    reading_order,
)
from synpref_dagster.sources.formats.own_suites import own_rows
from synpref_dagster.sources.held_out import vote_options
from synpref_dagster.sources.recorded_votes import named_votes, voted_contents
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.shards import READ_SCHEMAS, read_file
from synpref_dagster.storage import (
    DatasetRef,
    MapResult,
    ShardExecutor,
    build_dataset,
    hash_json,
    map_shards,
    step_key,
)
from synpref_dagster.synthetic.miniatures.suite import (
    SMOKE_SIZES,
    BenchmarkSizes,
    write_mini_benchmarks,
)
from synpref_dagster.synthetic.world import WorldConfig, WorldManifest, write_world

WORLD_LICENCE = "apache-2.0"
MAX_LISTED = 500  # files that are told apart in metadata
LISTING, UNREAD = "source_listing", "unread_columns"  # metadata of the raw pool
READING_VERSION = "5"
"""Code version of the raw pool: whoever reads the sources finds the files that were read for it."""


OWN_BENCHMARKS_VERSION = "3"
"""Code version of reading suites of one's own: it changes with that of reading sources."""


class PoolSources(dg.ConfigurableResource):
    """Reads what the profile names."""

    campaign: Campaign

    @property
    def is_synthetic(self) -> bool:
        """Whether the pool is the synthetic world."""
        return self.campaign.profile.pool.kind == "synthetic_world"

    @cached_property
    def world(self) -> WorldManifest:
        """The synthetic world of this campaign, written on first use."""
        world = self.campaign.profile.pool.world
        config = WorldConfig(
            seed=self.campaign.seed,
            num_unverified=world.num_unverified,
            num_wild=world.num_wild,
            num_test=world.num_test,
            benchmarks=self._benchmark_sizes(),
        )
        return write_world(self.world_folder(), config=config)

    def world_folder(self) -> Path:
        """Where the synthetic world lies."""
        return self.campaign.local_folder("world")

    def specs(self) -> list[SourceSpec]:
        """The sources of the pool, in reading order."""
        if not self.is_synthetic:
            pool = self.campaign.profile.pool
            made = vote_options(pool, self.campaign.seed)
            return [_spec(source, made) for source in pool.sources]
        return [
            SourceSpec(
                name=name,
                path=str(self.world_folder() / facts["path"]),
                origin=facts["origin"],
                licence=WORLD_LICENCE,
            )
            for name, facts in sorted(self.world.sources.items())
        ]

    def files(self) -> list[SourceSpec]:
        """The sources file by file: a folder is one source whose files are read one by one."""
        return [file for _, file in self._located()]

    def skipped_files(self) -> dict[str, list[str]]:
        """Files that lie in the folder of each source and are no data by their names."""
        found = {spec.name: files.skipped for spec, files in self._found()}
        return {name: skipped for name, skipped in found.items() if skipped}

    def _located(self) -> list[tuple[SourceSpec, SourceSpec]]:
        """Every file, after the source that it belongs to."""
        return [
            (spec, replace(spec, path=path)) for spec, files in self._found() for path in files.data
        ]

    def _found(self) -> list[tuple[SourceSpec, SourceFiles]]:
        """The sources of the pool and their files; a source without any is an error."""
        found = []
        for spec in self.specs():
            try:
                files = source_files(spec.path, split=spec.options.get("split"))
            except ValueError as error:
                raise ValueError(f"source {spec.name!r}: {error}") from error
            if not files.data:
                passed = f", apart from {len(files.skipped)} that are no data by their names"
                raise ValueError(
                    f"source {spec.name!r}: no file below {spec.path!r}"
                    f"{passed if files.skipped else ''}; is it mounted? Take the "
                    "source out of the profile if its pairs are to leave the pool"
                )
            found.append((spec, files))
        return found

    def fingerprint(self) -> str:
        """What the raw pool depends on: every source's specification and bytes."""
        return self._fingerprint(self._listed_files()[0])

    def _fingerprint(self, rows: list[dict[str, str]]) -> str:
        return str(hash_json({"sources": rows, "seed": self.campaign.seed}))

    @cached_property
    def content_hashes(self) -> ContentHashes:
        """Hashes of the source files, which outlive the night."""
        return ContentHashes(self.campaign.uri("data", "raw_pool", "content_hashes.json"))

    def listing(self) -> str:
        """Changes with names, sizes and times of the source files, without reading them."""
        if self.is_synthetic:
            return "synthetic_world"
        about = [
            [spec.name, spec.path and listing_identity(spec.path), hub_version(spec)]
            for spec in self.specs()
        ]
        return str(hash_json(about))

    def listed(self) -> dict[str, str]:
        """File -> what `listing` says of it, or source -> the same where there are many files.

        A file is called by its source and its name.
        """
        if self.is_synthetic:
            return {}
        found = [
            (f"{spec.name}/{path.rpartition('/')[2]}" if path else spec.name, path, spec)
            for spec in self.specs()
            for path in _listed_paths(spec)
        ]
        if len(found) > MAX_LISTED:
            found = [(spec.name, spec.path, spec) for spec in self.specs()]
        return {
            name: listing_identity(path) if path else hub_version(spec)
            for name, path, spec in found
        }

    def read_pool(
        self, *, version: str = READING_VERSION, executor: ShardExecutor | None = None
    ) -> MapResult:
        """All sources, file by file: `kept`, `dropped`, `counts`, people's `votes` and `unread`.

        Files that were read before, by content and specification, are not read again. Those that
        did not change come first, see `reading_order`: of two equal pairs the one that came first
        is kept, today and tomorrow.

        Args:
            version: code version of the step.
            executor: who reads the files; in this process by default.

        Raises:
            ValueError: the profile names no source, a source cannot be read, or a file that was
                read before is gone.
        """
        rows, files, paths = self._listed_files()
        if not rows:
            raise ValueError("the profile names no source: add [[pool.sources]]")
        uri = self.campaign.uri("data", "raw_pool", "files")
        read = self.campaign.uri("data", "raw_pool", "read_files")
        known = files_read_before(read, uri)
        if not self.campaign.profile.pool.allow_missing_files:
            check_none_gone(files, known, skipped=self._skipped_names())
        order = reading_order(files, known)
        # The order is part of the step: a list of the same files as on an earlier night must not
        # bring back an order that a night in between has changed.
        inputs = [self._fingerprint(rows), *(rows[number]["key"] for number in order)]
        step = step_key(version=version, inputs=inputs, params={})
        facts = as_facts([files[number] for number in order])
        listed = build_dataset(
            uri,
            step=step,
            compute=lambda: [pa.Table.from_pylist([rows[number]]) for number in order],
            meta={**facts, READ_APART: True},
        )
        result = self._read(listed, paths, version=version, executor=executor)
        keys = pa.table({"key": [rows[number]["key"] for number in order]})
        build_dataset(read, step=step, compute=lambda: keys, meta=facts)
        return result

    def _read(
        self,
        listed: DatasetRef,
        paths: Mapping[str, str | None],
        *,
        version: str,
        executor: ShardExecutor | None,
    ) -> MapResult:
        try:
            return map_shards(
                partial(read_file, paths=paths),
                listed,
                uri=self.campaign.uri("data", "raw_pool"),
                version=version,
                params={"seed": self.campaign.seed},
                executor=executor,
                outputs=list(READ_SCHEMAS),
            )
        except ValueError as error:
            # The message names the file as people know it; in which shard it was listed says
            # nothing to them, and goes with the cause.
            raise ValueError(str(error)) from error

    def _listed_files(
        self,
    ) -> tuple[list[dict[str, str]], list[PoolFile], dict[str, str | None]]:
        """Rows that reading the files depends on, how they are known again, key -> path."""
        found = self._located()
        listed = [listed_file(spec, source.path, self.content_hashes) for source, spec in found]
        self.content_hashes.save(spec.path for _, spec in found if spec.path)
        rows, files = [row for row, _ in listed], [file for _, file in listed]
        # Beside the rows: a file that was moved is the same file.
        paths = {file.key: spec.path for file, (_, spec) in zip(files, found, strict=True)}
        return rows, files, paths

    def _skipped_names(self) -> set[str]:
        """What the files that are skipped are called in the list of known files."""
        return {file_name(spec, path) for spec, files in self._found() for path in files.skipped}

    def verdict_fingerprint(self) -> str:
        """What the recorded verdicts depend on."""
        if self.is_synthetic:
            return self.world.fingerprint
        return self.fingerprint()

    def recorded_verdicts(self, contents: Iterable[bytes] | None = None) -> list[dict[str, Any]]:
        """Verdicts of people about pool pairs, against the sorted order of the responses.

        Args:
            contents: ids of the contents in question; None takes all.
        """
        if self.is_synthetic:
            # Reading the manifest first makes sure that the world is there.
            assert self.world
            frame = pd.read_json(
                self.world_folder() / "recorded_verdicts.jsonl", lines=True, dtype=False
            )
            wanted = None if contents is None else {each.hex() for each in contents}
            rows = frame.to_dict("records")
            return [row for row in rows if wanted is None or row["content_id"] in wanted]
        return named_votes(self.read_pool().outputs["votes"], contents)

    def voted_contents(self) -> pa.Array:
        """The 16-byte ids of the contents about which `recorded_verdicts` says something."""
        if not self.is_synthetic:
            return voted_contents(self.read_pool().outputs["votes"])
        ids = {bytes.fromhex(row["content_id"]) for row in self.recorded_verdicts()}
        return pa.array(sorted(ids), pa.binary(ID_BYTES))

    def benchmark_fingerprint(self) -> str:
        """What the benchmarks depend on."""
        settings = self.campaign.profile.pool
        named = {**settings.benchmarks, **settings.custom_benchmarks}
        if self.is_synthetic and not named:
            return self.world.fingerprint
        contents = {name: content_identity(path) for name, path in named.items()}
        about: dict[str, Any] = {"contents": contents, "subsets": settings.benchmark_subsets}
        if self.is_synthetic:
            about["world"] = self.world.fingerprint
        if settings.custom_benchmarks:
            about["own"] = OWN_BENCHMARKS_VERSION
        return str(hash_json(about))

    def benchmarks(self) -> list[tuple[Benchmark, list[BenchmarkItem]]]:
        """Every benchmark at hand with its items: published ones, plug-ins, suites of one's own."""
        world = {}
        if self.is_synthetic:
            assert self.world
            world = load_suite(self.world_folder() / "benchmarks")
        return [*((known_benchmark(name), items) for name, items in world.items()), *self._named()]

    def _named(self) -> Iterator[tuple[Benchmark, list[BenchmarkItem]]]:
        """The benchmarks that the profile names."""
        settings = self.campaign.profile.pool
        for name, path in settings.benchmarks.items():
            benchmark = known_benchmark(name)
            items = load_items(benchmark, None if path == "hub" else path)
            wanted = settings.benchmark_subsets.get(name, benchmark.subsets)
            items = [item for item in items if item.group in wanted]
            check_subsets(benchmark, items, wanted)
            yield benchmark, items
        for name, path in settings.custom_benchmarks.items():
            yield load_custom(name, path, read=partial(own_rows, name))

    def num_comparisons(self) -> int | None:
        """Comparisons that judges are asked about on all benchmarks, without writing the world.

        None where a benchmark is on the hub: nobody knows it before it was downloaded.
        """
        if "hub" in self.campaign.profile.pool.benchmarks.values():
            return None
        suites = [items for _, items in self._named()]
        if self.is_synthetic:
            with TemporaryDirectory() as folder:
                sizes = self._benchmark_sizes()
                write_mini_benchmarks(Path(folder), sizes=sizes, seed=self.campaign.seed)
                suites += load_suite(Path(folder)).values()
        return sum(len(comparisons(items)) for items in suites)

    def _benchmark_sizes(self) -> BenchmarkSizes:
        small = self.campaign.profile.pool.world.benchmark_sizes == "smoke"
        return SMOKE_SIZES if small else BenchmarkSizes()

    def benchmark_items(self) -> dict[str, list[BenchmarkItem]]:
        """Items of every benchmark at hand, by benchmark name."""
        return {benchmark.name: items for benchmark, items in self.benchmarks()}

    def expected_counts(self, benchmark: Benchmark) -> dict[str, int] | None:
        """Items per subset of the published set, of the subsets at hand.

        None where nothing is published: the world's miniatures and plug-ins without counts. A
        suite of one's own is as large as its file.
        """
        if self.is_synthetic and benchmark.name in BENCHMARK_NAMES:
            return None
        wanted = self.campaign.profile.pool.benchmark_subsets.get(benchmark.name)
        counts = benchmark.expected_counts
        return {n: c for n, c in counts.items() if wanted is None or n in wanted} or None

    def benchmark_prompts(self) -> pd.DataFrame:
        """First-turn prompts of all benchmarks: benchmark, item_id, prompt."""
        rows = [
            row for items in self.benchmark_items().values() for row in first_turn_prompts(items)
        ]
        return pd.DataFrame(rows, columns=["benchmark", "item_id", "prompt"])


def _listed_paths(spec: SourceSpec) -> list[str | None]:
    """Files of a source; one that cannot be listed is a file by its own name: reading says why."""
    try:
        return source_files(spec.path, split=spec.options.get("split")).data or [spec.path]
    except ValueError:
        return [spec.path]


def _spec(source: SourceSettings, vote_options: Mapping[str, Any]) -> SourceSpec:
    spec = SourceSpec(**source.model_dump(exclude={"may_leave"}))
    if source.format != CROWD_VOTES:
        return spec
    options = {**vote_options, **spec.options}
    excluded = [*spec.options.get("exclude_debates", ()), *vote_options.get("exclude_debates", ())]
    if excluded:
        options["exclude_debates"] = list(dict.fromkeys(excluded))
    return replace(spec, options=options)
