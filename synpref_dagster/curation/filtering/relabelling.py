"""Which pairs stage 2 asks the judges about (Sec. 3.3), shard by shard.

A shard is decided by itself; that each content is asked once over all shards is for
`ids.first_of_each` to see to.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.filtering.content_labels import ContentLabels
from synpref_dagster.curation.filtering.witnesses import CONFIDENT
from synpref_dagster.pairs.accuracy import confidence
from synpref_dagster.pairs.columns import to_numbers
from synpref_dagster.pairs.ids import first_occurrences, id_keys
from synpref_dagster.pairs.record import ID_BYTES, ID_TYPE

ASKED_SCHEMA = pa.schema([("pair_id", ID_TYPE), ("content_id", ID_TYPE)])


def pairs_to_relabel(
    clean: pa.Table, rewards: pa.Table, *, labelled: ContentLabels, unsure_band: float
) -> pa.Table:
    """The pairs of a shard whose label the best RM disagrees with or is unsure of.

    None whose content people or judges labelled in stage 1, and each content once. A pair without
    a reward is asked about too: nothing else speaks for it.

    Args:
        clean: pair_id, content_id of the clean pairs of a shard.
        rewards: pair_id, best_margin of the same shard.
        labelled: contents that have a label, or that people could not decide.
        unsure_band: also ask where p <= 0.5 + this.

    Returns:
        `ASKED_SCHEMA`, in the order of the shard.
    """
    pairs = clean.select(ASKED_SCHEMA.names)
    if not pairs.num_rows:
        return ASKED_SCHEMA.empty_table()
    unsure = ~(confidence(_best_margins(pairs, rewards)) > CONFIDENT + unsure_band)
    _, known = labelled.of(pairs)
    candidates = pairs.filter(pa.array(unsure & ~known))
    first = first_occurrences(id_keys(candidates.column("content_id")))
    return candidates.filter(pa.array(first == np.arange(len(first))))


def _best_margins(pairs: pa.Table, rewards: pa.Table) -> np.ndarray:
    """(n,) margins under the best RM in the order of `pairs`, NaN where there is none."""
    margins = rewards.column("best_margin").combine_chunks()
    if not rewards.num_rows:
        return np.full(pairs.num_rows, np.nan, dtype=np.float32)
    wanted, known = (
        each.column("pair_id").combine_chunks().cast(pa.binary(ID_BYTES))
        for each in (pairs, rewards)
    )
    rows = pc.index_in(wanted, value_set=known)
    return to_numbers(margins.take(rows), null=np.nan)
