"""A random sample of pairs without findings; once sampled, a pair stays in it.

Ids are hashes: those nearest to a point drawn with the seed are a sample, whatever the order of the
pool. A pool that grows brings nearer ones; those that were sampled before stay beside them, or a
pair that only the sample found would come back. N nearest of a pool that grows M-fold are
N * (1 + ln M) pairs in all.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.pairs.ids import id_keys
from synpref_dagster.pairs.record import ID_BYTES, ID_TYPE

SAMPLED_SCHEMA = pa.schema([("pair_id", ID_TYPE)])


def nearest_unflagged(
    shards: Iterable[tuple[pa.Table, pa.Table]], *, num_sampled: int, seed: int
) -> list[bytes]:
    """Ids of the pairs without a finding that are nearest to the seed's point, nearest first.

    Args:
        shards: pair_id of all pairs of a shard, and of those of them with a finding.
        num_sampled: how many, at most.
        seed: the campaign's seed.
    """
    point = np.uint64(np.random.default_rng(seed).integers(1 << 63))
    nearest = np.zeros((0, 2), dtype=np.uint64)
    farthest = np.uint64(np.iinfo(np.uint64).max)
    for pairs, flagged in shards:
        keys = id_keys(pairs.column("pair_id"))
        near = keys[((keys[:, 0] ^ point) <= farthest) & ~_among(pairs, flagged)]
        distinct = np.unique(np.concatenate([nearest, near]), axis=0)
        # Of ids at one distance, whose first words are equal, the one that sorts first is nearer.
        order = np.lexsort((distinct[:, 1].byteswap(), distinct[:, 0] ^ point))
        nearest = distinct[order[:num_sampled]]
        if len(nearest) == num_sampled and num_sampled:
            farthest = nearest[-1, 0] ^ point
    return [row.tobytes() for row in nearest]


def sampled_by_shard(shards: Iterable[pa.Table], sampled: Iterable[bytes]) -> Iterator[pa.Table]:
    """The sampled pairs of each shard with `SAMPLED_SCHEMA`, each pair once, where it is first.

    Args:
        shards: pair_id of all pairs, shard by shard.
        sampled: ids; those that are in no shard have left the pool.
    """
    left = set(sampled)
    for table in shards:
        wanted = pa.array(sorted(left), pa.binary(ID_BYTES))
        found: list[bytes] = []
        if table.num_rows and len(wanted):
            stored = table.column("pair_id").combine_chunks().cast(pa.binary(ID_BYTES))
            hits = stored.filter(pc.is_in(stored, value_set=wanted))
            found = list(dict.fromkeys(hits.to_pylist()))
        left.difference_update(found)
        ids = pa.ExtensionArray.from_storage(ID_TYPE, pa.array(found, pa.binary(ID_BYTES)))
        yield pa.Table.from_arrays([ids], schema=SAMPLED_SCHEMA)


def _among(pairs: pa.Table, flagged: pa.Table) -> np.ndarray:
    if not pairs.num_rows or not flagged.num_rows:
        return np.zeros(pairs.num_rows, dtype=bool)
    ids, known = (
        each.column("pair_id").combine_chunks().cast(pa.binary(ID_BYTES))
        for each in (pairs, flagged)
    )
    return np.asarray(pc.is_in(ids, value_set=known))
