"""What a materialisation was made from, as Dagster recorded it: versions of data and of code.

Each event names the data version of every input that it read. Following those, and not the latest
event of each asset, gives the lineage of one result even when several campaigns share an instance.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from synpref_dagster.resources.campaign import key_of, name_of

CODE_VERSION = "dagster/code_version"
DATA_VERSION = "dagster/data_version"
INPUT_VERSION = "dagster/input_data_version/"
MAX_EVENTS = 50  # of one asset: how far back an input is looked for
UNKNOWN_NIGHT = "an unknown night"


def lineage(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    *,
    partition: str | None = None,
    prefix: str = "",
) -> dict[str, dict[str, Any]]:
    """Asset -> data version, code version and input versions, from `key` back to the sources.

    Args:
        instance: where the history is.
        key: the asset to start from, at its latest materialisation.
        partition: its partition.
        prefix: the profile's `key_prefix`.

    Returns:
        One entry per asset, by its name without the prefix; an input whose event is gone keeps its
        data version alone.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting: list[tuple[str, str | None, str | None]] = [(name_of(key, prefix), partition, None)]
    while waiting:
        name, part, version = waiting.pop()
        if name in found:
            continue
        tags = _tags(instance, key_of(name, prefix), partition=part, version=version)
        inputs = {
            _input_name(tag, prefix): value
            for tag, value in sorted(tags.items())
            if tag.startswith(INPUT_VERSION)
        }
        found[name] = {
            "data_version": tags.get(DATA_VERSION, version),
            "code_version": tags.get(CODE_VERSION),
            "inputs": inputs,
        }
        waiting += [(parent, None, each) for parent, each in inputs.items()]
    return dict(sorted(found.items()))


def made_at(
    instance: dg.DagsterInstance, key: dg.AssetKey, *, version: str, partition: str | None = None
) -> str:
    """When a result was made last, in UTC to the minute, which tells one night from another.

    Args:
        instance: where the history is.
        key: of the asset.
        version: data version of the result.
        partition: its partition.
    """
    for record in _records(instance, key, partition=partition, limit=MAX_EVENTS):
        event = record.asset_materialization
        if event is not None and (event.tags or {}).get(DATA_VERSION) == version:
            return f"{datetime.fromtimestamp(record.timestamp, UTC):%Y-%m-%d %H:%M} UTC"
    return UNKNOWN_NIGHT


def _input_name(tag: str, prefix: str) -> str:
    return name_of(dg.AssetKey.from_user_string(tag.removeprefix(INPUT_VERSION)), prefix)


def _records(
    instance: dg.DagsterInstance, key: dg.AssetKey, *, partition: str | None, limit: int
) -> Sequence[dg.EventLogRecord]:
    """Materialisations of an asset, the newest first."""
    return instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition] if partition else None),
        limit=limit,
    ).records


def _tags(
    instance: dg.DagsterInstance, key: dg.AssetKey, *, partition: str | None, version: str | None
) -> Mapping[str, str]:
    limit = 1 if version is None else MAX_EVENTS
    for record in _records(instance, key, partition=partition, limit=limit):
        event = record.asset_materialization
        tags = dict(event.tags or {}) if event is not None else {}
        if version is None or tags.get(DATA_VERSION) == version:
            return tags
    return {}
