"""A map in which rows that a shard gains later cost themselves, not their shard.

Which rows of a shard are asked for may depend on other shards: where a corrected file loses its
copies of pairs, copies elsewhere take their place, a few in each of many shards. The rows that were
asked for when a shard was first worked on are its base, and stay one task as long as the shard is
there. Rows that came since are a task apart. What went since is left out of the outcome, for free.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.storage import (
    DatasetRef,
    Manifest,
    MapResult,
    Shard,
    ShardExecutor,
    find_manifest,
    hash_json,
    join_uri,
    map_shards,
    read_manifest,
    step_key,
    to_path,
)
from synpref_dagster.storage.dataset import read_shard, write_shard
from synpref_dagster.storage.manifest import SHARD_FOLDER, publish
from synpref_dagster.storage.maps.apart import join_parts
from synpref_dagster.storage.uris import file_sizes

VERSION = "1"
OF = "of"


@dataclass(frozen=True, slots=True)
class GrownResult:
    """What `map_grown` published, and what it cost."""

    ref: DatasetRef
    base: MapResult
    """The work on rows that shards had at first."""
    since: MapResult | None
    """The work on rows that came since; None where none did."""

    def counts(self) -> dict[str, int]:
        """Metrics that say what a run cost."""
        found = {
            "num_shards_computed": self.base.num_shards_computed,
            "num_shards_reused": self.base.num_shards_reused,
        }
        if self.since is not None:
            found["num_grown_parts_computed"] = self.since.num_shards_computed
        return found


def map_grown(  # noqa: PLR0913 - as `map_shards`
    fn: Callable[..., pa.Table],
    ids: DatasetRef,
    texts: DatasetRef,
    *,
    uri: str,
    version: str,
    identified_by: Mapping[str, Any],
    meta: Mapping[str, Any] | None = None,
    executor: ShardExecutor | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> GrownResult:
    """`map_shards(fn, ids, beside=[texts], ...)` that computes only rows which are new in a shard.

    Args:
        fn: function of a table with pair_id and of its texts, which gives a row per pair, pair_id
            among its columns; a row depends on its own pair only.
        ids: the column pair_id of the wanted pairs, one shard per shard of `texts`.
        texts: tells which shard is which, by content, wherever it stands.
        uri: where the output goes, and the base and what came since below it.
        version: see `map_shards`, as the others.
        identified_by: identifies the work; a shard worked on otherwise has another base.
        meta: facts for the manifest of the output.
        executor: in this process by default.
        on_progress: see `map_shards`; told of the base, then of what came since.
    """
    about = hash_json([version, dict(identified_by)])
    base = keep_base(ids, texts, uri=join_uri(uri, "base", about[:16]))

    def work(wanted: DatasetRef, place: str) -> MapResult:
        return map_shards(
            fn,
            wanted,
            beside=[texts],
            uri=place,
            version=version,
            identified_by=identified_by,
            meta=meta,
            executor=executor,
            on_progress=on_progress,
            empty_alone=place != uri,  # The base is worked on as if there were nothing else.
        )

    first = work(base, uri)
    if read_manifest(base).shards == read_manifest(ids).shards:
        return GrownResult(first.ref, first, None)
    new = map_shards(rows_since, ids, beside=[base], uri=join_uri(uri, "new"), version=VERSION).ref
    since = work(new, join_uri(uri, "since"))
    joined = map_shards(
        join_parts,
        ids,
        beside=[first.ref, since.ref],
        uri=join_uri(uri, "joined"),
        version=VERSION,
        meta=meta,
        executor=executor,
    )
    return GrownResult(joined.ref, first, since)


def rows_since(ids: pa.Table, base: pa.Table) -> pa.Table:
    """The rows of a shard that its base lacks, in order."""
    wanted, known = (each["pair_id"].combine_chunks().storage for each in (ids, base))
    return ids.filter(pc.invert(pc.is_in(wanted, value_set=known)))


def keep_base(ids: DatasetRef, texts: DatasetRef, *, uri: str) -> DatasetRef:
    """The ids that each shard of `texts` had when it first came, one shard per shard of `texts`.

    Args:
        ids: those of now, which are the base of shards that are new.
        texts: shards are told by their content; of equal ones by which it is of them.
        uri: where the base is kept from night to night.
    """
    manifest, names = read_manifest(ids), _names(texts)
    known = _known(uri)
    shards = [
        # Equal tables have equal bytes: a new base is the very shard that `ids` has.
        known.get(name) or write_shard(uri, read_shard(ids.uri, shard))
        for name, shard in zip(names, manifest.shards, strict=True)
    ]
    step = step_key(version=VERSION, inputs=[ids.fingerprint, texts.fingerprint], params={})
    kept = Manifest(schema=manifest.schema, shards=tuple(shards), step=step, meta={OF: names})
    return publish(uri, kept)


def _names(texts: DatasetRef) -> list[str]:
    """Content of each shard, and the how many-eth of that content it is."""
    met: Counter[str] = Counter()
    names = []
    for shard in read_manifest(texts).shards:
        names.append(f"{shard.content_hash}-{met[shard.content_hash]}")
        met[shard.content_hash] += 1
    return names


def _known(uri: str) -> dict[str, Shard]:
    """The base so far; a shard of it that is lost is not known."""
    manifest = find_manifest(uri)
    if manifest is None:
        return {}
    sizes = file_sizes(to_path(uri) / SHARD_FOLDER)
    named = zip(manifest.meta[OF], manifest.shards, strict=True)
    return {name: each for name, each in named if sizes.get(each.name) == each.num_bytes}
