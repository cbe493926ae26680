"""What was found about single pairs, brought to the shards in which they lie."""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.clean_selection import with_personal_data
from synpref_dagster.curation.contamination_review import cleared_pairs, with_cleared
from synpref_dagster.curation.pairs import ID_BYTES
from synpref_dagster.curation.personal_data_report import pairs_to_drop
from synpref_dagster.storage import (
    DatasetRef,
    ShardExecutor,
    map_shards,
    read_frame,
)

VERSION = "1"
PERSONAL_DATA, HITS = "personal_data", "contamination_hits"


def review_screening(
    screened: DatasetRef,
    reviews: Mapping[str, DatasetRef],
    *,
    uri: str,
    drop_level: int,
    executor: ShardExecutor | None = None,
) -> DatasetRef:
    """A screened pool under what was found since: cleared of a hit, or with personal data.

    Args:
        screened: `SCREENED_SCHEMA`.
        reviews: by `HITS` the judges' look at contamination hits, by `PERSONAL_DATA` the pairs of
            the personal-data report; without any the screening stands as it is.
        uri: where the outcome goes.
        drop_level: level of personal data from which pairs are dropped.
        executor: in this process by default.
    """
    if not reviews:
        return screened
    return map_shards(
        partial(reviewed_shard, reviews_at=dict(reviews)),
        screened,
        uri=uri,
        version=VERSION,
        params={
            "reviews": {name: ref.fingerprint for name, ref in reviews.items()},
            "drop_level": drop_level,
        },
        executor=executor,
    ).ref


def reviewed_shard(
    screened: pa.Table,
    *,
    reviews: Mapping[str, str],
    drop_level: int,
    reviews_at: Mapping[str, DatasetRef],
) -> pa.Table:
    """`review_screening` of one shard.

    Args:
        screened: `SCREENED_SCHEMA`.
        reviews: fingerprints of the reviews; they identify the work.
        drop_level: level of personal data from which pairs are dropped.
        reviews_at: where the reviews lie.

    Raises:
        ValueError: the references name other reviews than the fingerprints.
    """
    if dict(reviews) != {name: ref.fingerprint for name, ref in reviews_at.items()}:
        raise ValueError(f"reviews {dict(reviews)} asked for, but others given: {dict(reviews_at)}")
    if HITS in reviews_at:
        screened = with_cleared(screened, _cleared(reviews_at[HITS]))
    if PERSONAL_DATA in reviews_at:
        found = _personal_data(reviews_at[PERSONAL_DATA], drop_level)
        screened = with_personal_data(screened, found)
    return screened


def barred_pairs(clean: DatasetRef, ids: set[bytes], *, uri: str) -> DatasetRef:
    """Those of some pairs that each shard of a clean pool holds: one shard per shard, pair_id."""
    return map_shards(
        named_pairs, clean, uri=uri, version=VERSION, params={"ids": [i.hex() for i in sorted(ids)]}
    ).ref


def named_pairs(clean: pa.Table, *, ids: Sequence[str]) -> pa.Table:
    """The column pair_id of the pairs of one shard that are named, in hexadecimal digits."""
    named = pa.array([bytes.fromhex(each) for each in ids], pa.binary(ID_BYTES))
    found = pc.is_in(clean["pair_id"].combine_chunks().storage, value_set=named)
    return clean.select(["pair_id"]).filter(found)


@lru_cache(maxsize=1)
def _cleared(hits: DatasetRef) -> set[bytes]:
    return cleared_pairs(read_frame(hits))


@lru_cache(maxsize=1)
def _personal_data(pairs: DatasetRef, level: int) -> dict[bytes, str]:
    return pairs_to_drop(read_frame(pairs), level=level)
