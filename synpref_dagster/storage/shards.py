"""Mapping over shards: one output shard per input shard, resumable at every single one.

A finished shard leaves a marker named by the hash of (input content, version, parameters). A
killed run continues where it stopped, and a nightly run costs only what is new.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import pyarrow as pa

from synpref_dagster.storage.arrow_types import canonical_table
from synpref_dagster.storage.dataset import check_schema, read_shard, write_shard
from synpref_dagster.storage.executors import InProcessExecutor, ShardExecutor
from synpref_dagster.storage.manifest import (
    SHARD_FOLDER,
    Manifest,
    Shard,
    hash_json,
    publish,
    read_manifest,
    reuse,
    step_key,
)
from synpref_dagster.storage.refs import DatasetRef
from synpref_dagster.storage.uris import (
    file_sizes,
    join_uri,
    read_bytes,
    remove_leftovers,
    to_path,
    write_bytes,
)

MARKER_FOLDER = "tasks"
RESERVED_NAMES = (MARKER_FOLDER, SHARD_FOLDER, "manifests", "steps")

ShardResult: TypeAlias = pa.Table | Mapping[str, pa.Table]
ShardFunction: TypeAlias = Callable[..., ShardResult | Iterator[ShardResult]]


@dataclass(frozen=True, slots=True)
class MapResult:
    """What `map_shards` published, and what it cost."""

    outputs: dict[str, DatasetRef]
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
    params: Mapping[str, Any],
    beside: Sequence[DatasetRef] = (),
    meta: Mapping[str, Any] | None = None,
    executor: ShardExecutor | None = None,
    outputs: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> MapResult:
    """Applies `fn(table, *others, **params)` to every shard and publishes the results.

    Args:
        fn: module-level function of one table, giving a table, or a mapping of output name to
            table when `outputs` are named; it has to depend on its arguments only. A generator
            of them gives several shards in place of one, each written before the next is made.
        dataset: the input.
        uri: where the output goes; named outputs go to `uri/NAME`.
        version: changes whenever `fn` computes something else.
        params: keyword arguments of `fn`. They identify the work: JSON values, dataclasses, or
            objects with a `fingerprint` (an index, a reference), picklable for a process pool.
        beside: data sets that go along with the input, shard by shard: `fn` gets, after its table,
            those of the same place.
        meta: small JSON facts kept in the manifest of each output.
        executor: in this process by default.
        outputs: names of the tables in the mapping that `fn` returns, for instance
            `["kept", "dropped"]`.
        on_progress: called with (shards done, shards in all) as shards finish.

    Returns:
        One reference per output (named `""` when there is only one without a name), and how many
        shards were computed and reused.

    Raises:
        ValueError: bad output names, tables that do not fit together, or a data set of `beside`
            with another number of shards.
    """
    uris = {name: join_uri(uri, name) if name else uri for name in _check_names(outputs)}
    inputs = [dataset, *beside]
    step = step_key(version=version, inputs=[ref.fingerprint for ref in inputs], params=params)
    shards = _side_by_side(inputs)
    if published := _reuse_all(uris, step, meta):
        return MapResult(published, 0, len(shards))

    keys = [_task_key(group, version, params) for group in shards]
    _clean_up(uri, uris)
    finished = _find_finished(uri, keys, uris)
    # Shards of equal content share a key: they are worked on once.
    todo = {key: group for key, group in zip(keys, shards, strict=True) if key not in finished}
    job = partial(_map_one, fn=fn, params=dict(params), inputs=inputs, uri=uri, uris=uris)
    num_done = len(shards) - len(todo)
    for task, marker in (executor or InProcessExecutor()).run(job, list(todo.items())):
        finished[task[0]], num_done = marker, num_done + 1
        if on_progress is not None:
            on_progress(num_done, len(shards))
    refs = _publish_all([finished[key] for key in keys], uris, step=step, meta=meta or {})
    return MapResult(refs, len(todo), len(shards) - len(todo))


@dataclass(frozen=True, slots=True)
class _Marker:
    """Where the output of one input shard went: output name to its shards, and their schema."""

    shards: dict[str, list[Shard]]
    schemas: dict[str, pa.Schema]

    def to_json(self) -> bytes:
        document = {
            name: {
                "shards": [[s.content_hash, s.num_rows, s.num_bytes] for s in shards],
                "arrow_schema": self.schemas[name].serialize().to_pybytes().hex(),
            }
            for name, shards in self.shards.items()
        }
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "_Marker | None":
        try:
            document = json.loads(text)
            shards = {
                name: [Shard(*shard) for shard in item["shards"]] for name, item in document.items()
            }
            schemas = {
                name: pa.ipc.read_schema(pa.BufferReader(bytes.fromhex(item["arrow_schema"])))
                for name, item in document.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowInvalid):
            return None
        return cls(shards, schemas)


def _map_one(
    task: tuple[str, tuple[Shard, ...]],
    *,
    fn: ShardFunction,
    params: Mapping[str, Any],
    inputs: Sequence[DatasetRef],
    uri: str,
    uris: Mapping[str, str],
) -> _Marker:
    key, group = task
    try:
        read = [read_shard(ref.uri, shard) for ref, shard in zip(inputs, group, strict=True)]
        result = fn(*read, **params)
        marker = _write(result if isinstance(result, Iterator) else iter([result]), uris)
    except Exception as error:
        error.add_note(f"while working on shard {group[0].name} of {inputs[0].uri!r}")
        raise
    write_bytes(to_path(uri) / MARKER_FOLDER / f"{key}.json", marker.to_json())
    return marker


def _write(results: Iterator[ShardResult], uris: Mapping[str, str]) -> _Marker:
    marker = _Marker(shards={name: [] for name in uris}, schemas={})
    for result in results:
        for name, table in _named(result, list(uris)).items():
            # An output needs one shard to have a schema; empty ones beyond that say nothing.
            if not table.num_rows and marker.shards[name]:
                continue
            canonical = canonical_table(table)
            marker.schemas[name] = check_schema(marker.schemas.get(name), canonical.schema)
            marker.shards[name].append(write_shard(uris[name], canonical))
    if not marker.schemas:
        raise ValueError("a shard function that gives several tables has to give at least one")
    return marker


def _named(result: ShardResult, names: Sequence[str]) -> Mapping[str, pa.Table]:
    tables = {"": result} if isinstance(result, pa.Table) else result
    if set(tables) != set(names):
        raise ValueError(
            f"the shard function gave the tables {sorted(tables)}, but its outputs are declared "
            f"as {sorted(names)}: return one table, or exactly the tables named in `outputs`"
        )
    return tables


def _reuse_all(
    uris: Mapping[str, str], step: str, meta: Mapping[str, Any] | None
) -> dict[str, DatasetRef] | None:
    found = {name: reuse(target, step=step, meta=meta) for name, target in uris.items()}
    done = {name: ref for name, ref in found.items() if ref is not None}
    return done if len(done) == len(uris) else None


def _side_by_side(inputs: Sequence[DatasetRef]) -> list[tuple[Shard, ...]]:
    shards = [read_manifest(ref).shards for ref in inputs]
    for ref, others in zip(inputs, shards, strict=True):
        if len(others) != len(shards[0]):
            raise ValueError(
                f"{ref.uri!r} has {len(others)} shards, but {inputs[0].uri!r} has "
                f"{len(shards[0])}: data sets that go side by side are made shard by shard"
            )
    return list(zip(*shards, strict=True))


def _task_key(group: tuple[Shard, ...], version: str, params: Mapping[str, Any]) -> str:
    return hash_json([*(shard.content_hash for shard in group), version, dict(params)])


def _find_finished(uri: str, keys: Sequence[str], uris: Mapping[str, str]) -> dict[str, _Marker]:
    # A marker counts when each shard it names is there in full length.
    folder = to_path(uri) / MARKER_FOLDER
    sizes = {name: file_sizes(to_path(target) / SHARD_FOLDER) for name, target in uris.items()}
    written = file_sizes(folder)
    finished = {}
    for key in dict.fromkeys(keys):
        text = read_bytes(folder / f"{key}.json") if f"{key}.json" in written else None
        marker = _Marker.from_json(text) if text is not None else None
        if (
            marker is not None
            and set(marker.shards) == set(uris)
            and all(
                sizes[name].get(shard.name) == shard.num_bytes
                for name, shards in marker.shards.items()
                for shard in shards
            )
        ):
            finished[key] = marker
    return finished


def _publish_all(
    markers: Sequence[_Marker], uris: Mapping[str, str], *, step: str, meta: Mapping[str, Any]
) -> dict[str, DatasetRef]:
    # Check everything before anything is published: outputs belong together.
    manifests = {}
    for name in uris:
        schema: pa.Schema | None = None
        for marker in markers:
            schema = check_schema(schema, marker.schemas[name])
        shards = tuple(shard for marker in markers for shard in marker.shards[name])
        manifests[name] = Manifest(schema=schema, shards=shards, step=step, meta=dict(meta))
    return {name: publish(uris[name], manifest) for name, manifest in manifests.items()}


def _clean_up(uri: str, uris: Mapping[str, str]) -> None:
    for folder in [join_uri(uri, MARKER_FOLDER)] + [
        join_uri(t, SHARD_FOLDER) for t in uris.values()
    ]:
        remove_leftovers(to_path(folder))


def _check_names(outputs: Sequence[str] | None) -> tuple[str, ...]:
    if outputs is None:
        return ("",)
    bad = [
        name
        for name in outputs
        if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name) or name in RESERVED_NAMES
    ]
    if bad or not outputs or len(set(outputs)) != len(outputs):
        raise ValueError(
            f"cannot use {list(outputs)!r} as outputs: give different names of lower-case "
            f"letters, digits and _, other than {RESERVED_NAMES}"
        )
    return tuple(outputs)
