"""Several maps over the same shards in one pass: what a shard lacks of them is made together.

Each variant is a map of its own, found by what it was computed from: adding one works on that one
alone, leaving one out works on nothing, and a shard is read once for all that it lacks.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import pyarrow as pa

from synpref_dagster.storage.manifest import Shard, hash_json, reuse, step_key
from synpref_dagster.storage.maps.executors import InProcessExecutor, ShardExecutor
from synpref_dagster.storage.maps.known_tasks import finished_tasks, keep_tasks
from synpref_dagster.storage.maps.shards import MapResult
from synpref_dagster.storage.maps.tasks import (
    Marker,
    clean_up,
    identity,
    note_shard,
    publish_all,
    read_group,
    side_by_side,
    task_key,
    write_marker,
    write_results,
)
from synpref_dagster.storage.refs import DatasetRef
from synpref_dagster.storage.uris import join_uri

VariantFunction: TypeAlias = Callable[..., Mapping[str, pa.Table]]
Variants: TypeAlias = Mapping[str, Mapping[str, Any]]
_READABLE = re.compile(r"[a-z0-9][a-z0-9_]{0,80}")
# What one task has to make: (variant, key of its work on these shards), and the shards.
_Task: TypeAlias = tuple[tuple[tuple[str, str], ...], tuple[Shard, ...]]


@dataclass(frozen=True, slots=True)
class VariantsResult:
    """What `map_variants` published, and what it cost."""

    variants: dict[str, MapResult]
    """Per variant its one output, with as many shards as the input, and what these cost."""
    num_shards_computed: int
    """Shards that were read, for one variant or several."""
    num_shards_reused: int
    """Shards that lacked nothing."""

    @property
    def refs(self) -> dict[str, DatasetRef]:
        """The data set of each variant."""
        return {name: each.ref for name, each in self.variants.items()}


def map_variants(  # noqa: PLR0913 - what identifies the work, then where and how it runs
    fn: VariantFunction,
    dataset: DatasetRef,
    *,
    uri: str,
    version: str,
    variants: Variants,
    identified_by: Mapping[str, Mapping[str, Any]] = {},
    beside: Sequence[DatasetRef] = (),
    executor: ShardExecutor | None = None,
    empty_alone: bool = False,
) -> VariantsResult:
    """`map_shards` once per variant, in one pass over the shards that lack any of them.

    Args:
        fn: module-level function of a shard, its neighbours of `beside`, and `variants`: those
            that the shard lacks, with their parameters. It gives one table per variant asked for,
            which depends on the shards and that variant's parameters only.
        dataset: the input.
        uri: where the output goes, each variant below it in a folder of its own.
        version: changes whenever `fn` computes something else.
        variants: name -> parameters, which identify the work as those of `map_shards` do.
        identified_by: name -> what identifies its work too, but is none of its parameters.
        beside: data sets that go along with the input, shard by shard.
        executor: in this process by default.
        empty_alone: what lies beside a shard without rows is not read; `fn` gets empty tables.

    Raises:
        ValueError: `fn` gave other variants than asked for, a data set of `beside` has another
            number of shards, or a name is in both `variants` and `identified_by` of one.
    """
    inputs = [dataset, *beside]
    places = {name: join_uri(uri, _folder(name)) for name in variants}
    about = {name: identity(variants[name], identified_by.get(name, {})) for name in variants}
    steps = {
        name: step_key(version=version, inputs=[ref.fingerprint for ref in inputs], params=each)
        for name, each in about.items()
    }
    shards = side_by_side(inputs, empty_alone=empty_alone)
    done = {
        name: MapResult({"": ref}, 0, len(shards))
        for name in variants
        if (ref := reuse(places[name], step=steps[name])) is not None
    }
    lacking = {name: params for name, params in variants.items() if name not in done}
    keys = {name: [task_key(group, version, about[name]) for group in shards] for name in lacking}
    finished = {name: _finished(places[name], keys[name]) for name in lacking}
    tasks = _tasks(shards, keys, finished)
    job = partial(_map_one, fn=fn, variants=lacking, inputs=inputs, places=places)
    for _, markers in (executor or InProcessExecutor()).run(job, tasks):
        for name, key, marker in markers:
            finished[name][key] = marker
    for name in lacking:
        markers_in_order = [finished[name][key] for key in keys[name]]
        outputs = publish_all(markers_in_order, {"": places[name]}, step=steps[name], meta={})
        keep_tasks(places[name], {key: finished[name][key] for key in keys[name]})
        num_computed = sum(name == each for made, _ in tasks for each, _ in made)
        done[name] = MapResult(outputs, num_computed, len(shards) - num_computed)
    in_order = {name: done[name] for name in variants}
    return VariantsResult(in_order, len(tasks), len(shards) - len(tasks))


def _map_one(
    task: _Task,
    *,
    fn: VariantFunction,
    variants: Variants,
    inputs: Sequence[DatasetRef],
    places: Mapping[str, str],
) -> list[tuple[str, str, Marker]]:
    wanted, group = task
    names = [name for name, _ in wanted]
    try:
        tables = fn(*read_group(inputs, group), variants={name: variants[name] for name in names})
        if set(tables) != set(names):
            raise ValueError(
                f"the shard function gave the variants {sorted(tables)}, but {sorted(names)} were "
                "asked for: return one table for each"
            )
        markers = []
        for name, key in wanted:
            marker = write_results(iter([tables[name]]), {"": places[name]})
            write_marker(places[name], key, marker)
            markers.append((name, key, marker))
    except Exception as error:
        note_shard(error, inputs, group)
        raise
    return markers


def _finished(place: str, keys: Sequence[str]) -> dict[str, Marker]:
    clean_up(place, {"": place})
    return finished_tasks(place, keys, {"": place})


def _tasks(
    shards: Sequence[tuple[Shard, ...]],
    keys: Mapping[str, Sequence[str]],
    finished: Mapping[str, Mapping[str, Marker]],
) -> list[_Task]:
    tasks: dict[tuple[tuple[str, str], ...], tuple[Shard, ...]] = {}
    for number, group in enumerate(shards):
        lacks = tuple((n, keys[n][number]) for n in keys if keys[n][number] not in finished[n])
        if lacks:
            # Shards of equal content share their keys: they are worked on once.
            tasks[lacks] = group
    return list(tasks.items())


def _folder(name: str) -> str:
    # Names may come out of data: none may lead out of the folder.
    return name if _READABLE.fullmatch(name) else str(hash_json(name))
