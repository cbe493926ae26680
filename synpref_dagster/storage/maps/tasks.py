"""One shard's work in a map: its key, its marker, what it writes, how the pieces are published.

`shards` and `variants` are made of these. A finished shard leaves a marker named by its key, the
hash of (input content, version, parameters).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from synpref_dagster.storage.arrow_types import canonical_table
from synpref_dagster.storage.dataset import check_schema, read_shard, write_shard
from synpref_dagster.storage.manifest import (
    SHARD_FOLDER,
    Manifest,
    Shard,
    hash_json,
    publish,
    read_manifest,
)
from synpref_dagster.storage.refs import DatasetRef
from synpref_dagster.storage.sealed import sealed, unsealed
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
class Marker:
    """Where the output of one input shard went: output name to its shards, and their schema."""

    shards: dict[str, list[Shard]]
    schemas: dict[str, pa.Schema]

    def to_document(self) -> dict[str, Any]:
        """What the marker says, as JSON values."""
        return {
            name: {
                "shards": [shard.to_list() for shard in shards],
                "arrow_schema": self.schemas[name].serialize().to_pybytes().hex(),
            }
            for name, shards in self.shards.items()
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Marker | None":
        """The marker of `to_document`, or None when it is none."""
        try:
            shards = {
                name: [Shard(*shard) for shard in item["shards"]] for name, item in document.items()
            }
            schemas = {
                name: pa.ipc.read_schema(pa.BufferReader(bytes.fromhex(item["arrow_schema"])))
                for name, item in document.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, OSError, pa.ArrowException):
            return None
        return cls(shards, schemas)


def write_results(results: Iterator[ShardResult], uris: Mapping[str, str]) -> Marker:
    """Writes what a shard function gave, table by table.

    Args:
        results: tables, or mappings of output name to table.
        uris: output name -> where it goes.

    Raises:
        ValueError: other tables than declared, of different schemas, or none.
    """
    marker = Marker(shards={name: [] for name in uris}, schemas={})
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


def read_group(inputs: Sequence[DatasetRef], group: tuple[Shard, ...]) -> list[pa.Table]:
    """The tables of one group of shards; inputs without a shard in it come as empty tables."""
    tables = [read_shard(ref.uri, shard) for ref, shard in zip(inputs, group, strict=False)]
    return tables + [read_manifest(ref).schema.empty_table() for ref in inputs[len(group) :]]


def note_shard(error: Exception, inputs: Sequence[DatasetRef], group: tuple[Shard, ...]) -> None:
    """Adds to an error which shard was worked on."""
    error.add_note(f"while working on shard {group[0].name} of {inputs[0].uri!r}")


def write_marker(uri: str, key: str, marker: Marker) -> None:
    """Says that the work is finished; written after the shards it names."""
    text = json.dumps(sealed(marker.to_document(), place=key), sort_keys=True)
    write_bytes(to_path(uri) / MARKER_FOLDER / f"{key}.json", text.encode())


def side_by_side(
    inputs: Sequence[DatasetRef], *, empty_alone: bool = False
) -> list[tuple[Shard, ...]]:
    """The shards of several data sets, those of one place together.

    `empty_alone` leaves those beside a first one without rows out.

    Raises:
        ValueError: they have different numbers of shards.
    """
    shards = [read_manifest(ref).shards for ref in inputs]
    for ref, others in zip(inputs, shards, strict=True):
        if len(others) != len(shards[0]):
            raise ValueError(
                f"{ref.uri!r} has {len(others)} shards, but {inputs[0].uri!r} has "
                f"{len(shards[0])}: data sets that go side by side are made shard by shard"
            )
    groups = list(zip(*shards, strict=True))
    if empty_alone:
        return [group if group[0].num_rows else group[:1] for group in groups]
    return groups


def identity(params: Mapping[str, Any], identified_by: Mapping[str, Any]) -> dict[str, Any]:
    """What tells work apart besides its input and version.

    Raises:
        ValueError: a name is an argument and an identity.
    """
    if twice := sorted(params.keys() & identified_by.keys()):
        raise ValueError(f"{twice} stand in params and in identified_by: leave them in one of them")
    return {**params, **identified_by}


def task_key(group: tuple[Shard, ...], version: str, params: Mapping[str, Any]) -> str:
    """Identity of the work on one group of shards."""
    return hash_json([*(shard.content_hash for shard in group), version, dict(params)])


def find_finished(uri: str, keys: Sequence[str], uris: Mapping[str, str]) -> dict[str, Marker]:
    """Markers of finished work by key; one counts when each shard it names is there in full.

    Args:
        uri: where the markers lie.
        keys: of the work asked for.
        uris: output name -> where its shards lie.
    """
    folder = to_path(uri) / MARKER_FOLDER
    sizes = output_sizes(uris)
    written = file_sizes(folder) if keys else {}
    finished = {}
    for key in dict.fromkeys(keys):
        text = read_bytes(folder / f"{key}.json") if f"{key}.json" in written else None
        marker = _marker(text, key) if text is not None else None
        if marker is not None and has_outputs(marker, sizes):
            finished[key] = marker
    return finished


def _marker(text: bytes, key: str) -> Marker | None:
    """The marker in the file of a key, or None when it is torn, damaged or that of another key."""
    try:
        return Marker.from_document(unsealed(text, place=key))
    except ValueError:
        return None


def output_sizes(uris: Mapping[str, str]) -> dict[str, Mapping[str, int]]:
    """Bytes of every shard file that is there, by output."""
    return {name: file_sizes(to_path(target) / SHARD_FOLDER) for name, target in uris.items()}


def has_outputs(marker: Marker, sizes: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether each shard that a marker names is there in its full length."""
    return set(marker.shards) == set(sizes) and all(
        sizes[name].get(shard.name) == shard.num_bytes
        for name, shards in marker.shards.items()
        for shard in shards
    )


def publish_all(
    markers: Sequence[Marker], uris: Mapping[str, str], *, step: str, meta: Mapping[str, Any]
) -> dict[str, DatasetRef]:
    """Publishes each output; markers are those of its input shards, in order.

    Raises:
        ValueError: an output has shards of different schemas; nothing is published then.
    """
    manifests = {}
    for name in uris:
        schema: pa.Schema | None = None
        for marker in markers:
            schema = check_schema(schema, marker.schemas[name])
        shards = tuple(shard for marker in markers for shard in marker.shards[name])
        manifests[name] = Manifest(schema=schema, shards=shards, step=step, meta=dict(meta))
    return {name: publish(uris[name], manifest) for name, manifest in manifests.items()}


def clean_up(uri: str, uris: Mapping[str, str]) -> None:
    """Removes what killed runs left half-written."""
    for folder in [join_uri(uri, MARKER_FOLDER)] + [
        join_uri(t, SHARD_FOLDER) for t in uris.values()
    ]:
        remove_leftovers(to_path(folder))


def check_names(outputs: Sequence[str] | None) -> tuple[str, ...]:
    """The names of a map's outputs; a lone output has the name "".

    Raises:
        ValueError: names that cannot be folders, or that are taken.
    """
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
