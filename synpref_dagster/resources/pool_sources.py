"""Where pairs, people's recorded verdicts and benchmarks come from.

Either the files of the profile, or the synthetic world, which is written to disk as ordinary source
files on first use. The world's sealed truth is not reachable from here (see `sealed_truth`).
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from synpref_dagster.benchmarks.custom import load_custom
from synpref_dagster.benchmarks.items import BenchmarkItem, first_turn_prompts
from synpref_dagster.benchmarks.loaders import load_items, load_suite
from synpref_dagster.benchmarks.plugins import known_benchmark
from synpref_dagster.benchmarks.suite import BENCHMARK_NAMES, Benchmark
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.pool_shards import READ_SCHEMAS, read_file
from synpref_dagster.resources.recorded_votes import named_votes
from synpref_dagster.settings import SourceSettings
from synpref_dagster.sources.file_identity import content_identity, listing_identity
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.rows import source_files
from synpref_dagster.storage import (
    MapResult,
    ShardExecutor,
    build_dataset,
    find_manifest,
    hash_json,
    make_ref,
    map_shards,
    read_table,
    step_key,
)
from synpref_dagster.synthetic.mini_benchmarks import SMOKE_SIZES, BenchmarkSizes
from synpref_dagster.synthetic.world import WorldConfig, WorldManifest, write_world

LISTING = "source_listing"  # metadata of the raw pool
READING_VERSION = "2"
"""Code version of the raw pool: whoever reads the sources finds the files that were read for it."""
# What decides which pairs a file gives; licence and citation travel with exports, not with rows.
_IDENTIFYING = ("name", "hub_id", "revision", "format", "origin")


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
            benchmarks=SMOKE_SIZES if world.benchmark_sizes == "smoke" else BenchmarkSizes(),
        )
        return write_world(self.world_folder(), config=config)

    def world_folder(self) -> Path:
        """Where the synthetic world lies."""
        return self.campaign.local_folder("world")

    def specs(self) -> list[SourceSpec]:
        """The sources of the pool, in reading order."""
        if not self.is_synthetic:
            return [_spec(source) for source in self.campaign.profile.pool.sources]
        return [
            SourceSpec(
                name=name,
                path=str(self.world_folder() / facts["path"]),
                origin=facts["origin"],
                licence="synthetic",
            )
            for name, facts in sorted(self.world.sources.items())
        ]

    def files(self) -> list[SourceSpec]:
        """The sources file by file: a folder is one source whose files are read one by one."""
        found = []
        for spec in self.specs():
            paths = source_files(spec.path)
            if not paths:
                raise ValueError(
                    f"source {spec.name!r}: no file below {spec.path!r}; is it mounted? Take the "
                    "source out of the profile if its pairs are to leave the pool"
                )
            found += [replace(spec, path=path) if path != spec.path else spec for path in paths]
        return found

    def fingerprint(self) -> str:
        """What the raw pool depends on: every source's specification and bytes."""
        return str(hash_json({"sources": self._file_rows(), "seed": self.campaign.seed}))

    def listing(self) -> str:
        """Changes with names, sizes and times of the source files, without reading them."""
        if self.is_synthetic:
            return "synthetic_world"
        about = [
            [spec.name, spec.path and listing_identity(spec.path), _hub_version(spec)]
            for spec in self.specs()
        ]
        return str(hash_json(about))

    def read_pool(
        self, *, version: str = READING_VERSION, executor: ShardExecutor | None = None
    ) -> MapResult:
        """All sources, file by file: `kept` pairs, `dropped` rows, `counts` and people's `votes`.

        Files that were read before, by content and specification, are not read again, and stay
        before new ones: of two equal pairs the one that came first is kept, today and tomorrow.

        Args:
            version: code version of the step.
            executor: who reads the files; in this process by default.

        Raises:
            ValueError: the profile names no source, or a source cannot be read.
        """
        rows = self._file_rows()
        if not rows:
            raise ValueError("the profile names no source: add [[pool.sources]]")
        uri = self.campaign.uri("data", "raw_pool", "files")
        listed = build_dataset(
            uri,
            step=step_key(version=version, inputs=[self.fingerprint()], params={}),
            compute=lambda: [pa.Table.from_pylist([row]) for row in _known_first(rows, uri)],
        )
        paths = {row["key"]: spec.path for row, spec in zip(rows, self.files(), strict=True)}
        return map_shards(
            partial(read_file, paths=paths),
            listed,
            uri=self.campaign.uri("data", "raw_pool"),
            version=version,
            params={"seed": self.campaign.seed},
            executor=executor,
            outputs=list(READ_SCHEMAS),
        )

    def _file_rows(self) -> list[dict[str, str]]:
        # Without the path: a file that was moved is the same file.
        whole = {spec.path for spec in self.specs()}
        rows = []
        for spec in self.files():
            about = {name: getattr(spec, name) for name in _IDENTIFYING}
            text = json.dumps({**about, "options": dict(spec.options)}, sort_keys=True)
            # Not by the number of files: a second one must not change what is said of the first.
            named = "" if spec.path in whole else _base_name(str(spec.path))
            key = str(hash_json([text, named, _content(spec)]))
            rows.append({"spec": text, "key": key, "file": _file_name(spec), "named": named})
        return rows

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

    def benchmark_fingerprint(self) -> str:
        """What the benchmarks depend on."""
        settings = self.campaign.profile.pool
        if self.is_synthetic and not settings.custom_benchmarks:
            return self.world.fingerprint
        named = {**settings.benchmarks, **settings.custom_benchmarks}
        contents = {name: content_identity(path) for name, path in named.items()}
        about: dict[str, Any] = {"contents": contents, "subsets": settings.benchmark_subsets}
        if self.is_synthetic:
            about["world"] = self.world.fingerprint
        return str(hash_json(about))

    def benchmarks(self) -> list[tuple[Benchmark, list[BenchmarkItem]]]:
        """Every benchmark at hand with its items: published ones, plug-ins, suites of one's own."""
        settings = self.campaign.profile.pool
        found: list[tuple[Benchmark, list[BenchmarkItem]]] = []
        if self.is_synthetic:
            assert self.world
            suite = load_suite(self.world_folder() / "benchmarks")
            found = [(known_benchmark(name), items) for name, items in suite.items()]
        for name, path in settings.benchmarks.items():
            benchmark = known_benchmark(name)
            items = load_items(benchmark, None if path == "hub" else path)
            wanted = settings.benchmark_subsets.get(name, benchmark.subsets)
            found.append((benchmark, [item for item in items if item.group in wanted]))
        found += [load_custom(name, path) for name, path in settings.custom_benchmarks.items()]
        return found

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


def _spec(source: SourceSettings) -> SourceSpec:
    values = source.model_dump()
    return SourceSpec(**values)


def _known_first(rows: list[dict[str, str]], uri: str) -> list[dict[str, str]]:
    """Files in the order of the list published at `uri`, then new ones in reading order.

    A file that grew or was corrected keeps its place, by source and name.
    """
    manifest = find_manifest(uri)
    known = read_table(make_ref(uri, manifest)).to_pylist() if manifest else []
    place = {row["file"]: number for number, row in enumerate(known) if "file" in row}
    place |= {row["key"]: number for number, row in enumerate(known)}
    new = len(known)
    return sorted(rows, key=lambda row: place.get(row["key"], place.get(row["file"], new)))


def _file_name(spec: SourceSpec) -> str:
    return f"{spec.name}/{_base_name(spec.path) if spec.path else spec.hub_id}"


def _base_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _content(spec: SourceSpec) -> str:
    return content_identity(spec.path) if spec.path else _hub_version(spec)


def _hub_version(spec: SourceSpec) -> str:
    return f"{spec.hub_id}@{spec.revision}"
