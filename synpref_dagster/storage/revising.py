"""A new version of a data set that replaces or adds some shards and keeps the rest."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from synpref_dagster.storage.arrow_types import canonical_table
from synpref_dagster.storage.dataset import check_schema, write_shard
from synpref_dagster.storage.manifest import SHARD_FOLDER, Manifest, Shard, publish, read_manifest
from synpref_dagster.storage.refs import DatasetRef
from synpref_dagster.storage.uris import remove_leftovers, to_path


def revise_dataset(
    uri: str,
    base: DatasetRef | None,
    changed: Iterable[tuple[int, pa.Table]],
    *,
    num_shards: int,
    step: str,
    meta: Mapping[str, Any] | None = None,
) -> DatasetRef:
    """Publishes the shards of `base`, some of them replaced, and new ones behind them.

    Only what changes is written, so that a night's work costs what is new.

    Args:
        uri: folder of the data set, the same as that of `base`.
        base: an earlier state; None for none.
        changed: (number of the shard, its table), each number at most once.
        num_shards: shards of the new state; every one is in `base` or in `changed`.
        step: identity of the computation, from `step_key`.
        meta: JSON values for people, kept in the manifest.

    Raises:
        ValueError: `base` lies elsewhere, a table has another schema, or a shard is missing.
    """
    if base is not None and base.uri != uri:
        raise ValueError(f"{base.uri!r} cannot be revised at {uri!r}: shards stay where they lie")
    remove_leftovers(to_path(uri) / SHARD_FOLDER)
    known = read_manifest(base) if base is not None else None
    shards: dict[int, Shard] = dict(enumerate(known.shards)) if known else {}
    schema = known.schema if known else None
    for number, table in changed:
        canonical = canonical_table(table)
        schema = check_schema(schema, canonical.schema)
        shards[number] = write_shard(uri, canonical)
    missing = sorted(set(range(num_shards)) - set(shards))
    if schema is None or missing:
        raise ValueError(
            f"{len(missing)} of {num_shards} shards of {uri!r} are neither known nor given, the "
            f"first of them number {missing[0] if missing else 0}"
        )
    kept = tuple(shards[number] for number in range(num_shards))
    return publish(uri, Manifest(schema=schema, shards=kept, step=step, meta=dict(meta or {})))
