"""Mapping over shards: one output shard per input shard, resumable at every single one.

A finished shard leaves a marker named by the hash of (input content, version, parameters). A
killed run continues where it stopped, and a nightly run costs only what is new.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from synpref_dagster.storage.manifest import Shard, reuse, step_key
from synpref_dagster.storage.maps.executors import InProcessExecutor, ShardExecutor
from synpref_dagster.storage.maps.known_tasks import finished_tasks, keep_tasks
from synpref_dagster.storage.maps.tasks import (
    Marker,
    ShardFunction,
    check_names,
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


@dataclass(frozen=True, slots=True)
class MapResult:
    """What `map_shards` published, and what it cost."""

    outputs: dict[str, DatasetRef]
    """By name; `""` is one without a name."""
    num_shards_computed: int
    num_shards_reused: int

    @property
    def ref(self) -> DatasetRef:
        """The only output.

        Raises:
            ValueError: there are several; take one of `outputs`.
        """
        if len(self.outputs) != 1:
            raise ValueError(f"several outputs {sorted(self.outputs)}: take one of `.outputs`")
        return next(iter(self.outputs.values()))


def map_shards(  # noqa: PLR0913 - what identifies the work, then where and how it runs
    fn: ShardFunction,
    dataset: DatasetRef,
    *,
    uri: str,
    version: str,
    params: Mapping[str, Any] = {},
    identified_by: Mapping[str, Any] = {},
    beside: Sequence[DatasetRef] = (),
    meta: Mapping[str, Any] | None = None,
    executor: ShardExecutor | None = None,
    outputs: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    empty_alone: bool = False,
) -> MapResult:
    """Applies `fn(table, *others, **params)` to every shard and publishes the results.

    Args:
        fn: module-level function of one table, giving a table, or one by output name when
            `outputs` are named; it depends on its arguments only. A generator of them gives
            several shards in place of one, each written before the next is made.
        dataset: the input.
        uri: where the output goes; named outputs go to `uri/NAME`.
        version: changes whenever `fn` computes something else.
        params: keyword arguments of `fn`. They identify the work: JSON values, dataclasses, or
            objects with a `fingerprint` (an index, a reference), picklable for a process pool.
        identified_by: identifies the work too, but is no argument of `fn`.
        beside: data sets whose shards of the same place `fn` gets after its table.
        meta: small JSON facts kept in the manifest of each output.
        executor: in this process by default.
        outputs: names of the tables that `fn` returns.
        on_progress: called with (shards done, shards in all) as shards finish.
        empty_alone: what lies beside a shard without rows is not read; `fn` gets empty tables.

    Raises:
        ValueError: bad output names, tables that do not fit together, a data set of `beside` with
            another number of shards, or a name in both `params` and `identified_by`.
    """
    uris = {name: join_uri(uri, name) if name else uri for name in check_names(outputs)}
    inputs = [dataset, *beside]
    about = identity(params, identified_by)
    step = step_key(version=version, inputs=[ref.fingerprint for ref in inputs], params=about)
    shards = side_by_side(inputs, empty_alone=empty_alone)
    if published := _reuse_all(uris, step, meta):
        return MapResult(published, 0, len(shards))

    keys = [task_key(group, version, about) for group in shards]
    clean_up(uri, uris)
    finished = finished_tasks(uri, keys, uris)
    # Shards of equal content share a key: they are worked on once.
    todo = {key: group for key, group in zip(keys, shards, strict=True) if key not in finished}
    job = partial(_map_one, fn=fn, params=dict(params), inputs=inputs, uri=uri, uris=uris)
    num_done = len(shards) - len(todo)
    for task, marker in (executor or InProcessExecutor()).run(job, list(todo.items())):
        finished[task[0]], num_done = marker, num_done + 1
        if on_progress is not None:
            on_progress(num_done, len(shards))
    refs = publish_all([finished[key] for key in keys], uris, step=step, meta=meta or {})
    keep_tasks(uri, {key: finished[key] for key in keys})
    return MapResult(refs, len(todo), len(shards) - len(todo))


def _map_one(
    task: tuple[str, tuple[Shard, ...]],
    *,
    fn: ShardFunction,
    params: Mapping[str, Any],
    inputs: Sequence[DatasetRef],
    uri: str,
    uris: Mapping[str, str],
) -> Marker:
    key, group = task
    try:
        result = fn(*read_group(inputs, group), **params)
        marker = write_results(result if isinstance(result, Iterator) else iter([result]), uris)
    except Exception as error:
        note_shard(error, inputs, group)
        raise
    write_marker(uri, key, marker)
    return marker


def _reuse_all(
    uris: Mapping[str, str], step: str, meta: Mapping[str, Any] | None
) -> dict[str, DatasetRef] | None:
    found = {name: reuse(target, step=step, meta=meta) for name, target in uris.items()}
    done = {name: ref for name, ref in found.items() if ref is not None}
    return done if len(done) == len(uris) else None
