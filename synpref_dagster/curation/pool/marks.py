"""What the pairs of a pool say about each other: repetitions, contradictions, cycles (App. D.1).

Each pair is reduced to its keys. All that concerns a pair happens within its conversation, so that
keys are compared conversation by conversation, in any number of portions: `marks_of` gives for a
portion with whole conversations what it gives for the pool.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.pool.cleaning import contradicted_rows, first_copies
from synpref_dagster.curation.pool.cycles import EDGE_COLUMNS, KEY_COLUMNS, cycle_sizes
from synpref_dagster.pairs.columns import from_numbers
from synpref_dagster.pairs.record import ID_TYPE
from synpref_dagster.pairs.structure import STRUCTURAL_REASONS

CONTRADICTION, CYCLE = "contradictory_label", "preference_cycle"
LARGE_CYCLE = "large_preference_cycle"
RISKS = ("", CONTRADICTION, CYCLE, LARGE_CYCLE)
"""Risks of a pair by their code, 0 for none."""
MAX_CYCLE_RESPONSES = 8
"""Responses on a cycle up to which its pairs are risky. A larger one says that a source is noisy:
with many labels per conversation nearly every pair lies on one, so that it singles out none."""

POOL_KEY_SCHEMA = pa.schema(
    [
        *((name, ID_TYPE) for name in ("conversation_id", "content_id", "pair_id")),
        *((name, pa.uint64()) for name in KEY_COLUMNS),
        ("is_pure", pa.bool_()),
        ("row", pa.int32()),
    ]
)
"""Keys of the structurally sound pairs of a screened shard. `is_pure`: nothing else speaks against
the pair either; `row`: its row in the shard."""
KEYED_COLUMNS = [*EDGE_COLUMNS, *KEY_COLUMNS, "screen_reason"]
"""What `pool_keys` needs of a screened shard."""
MARK_SCHEMA = pa.schema([("row", pa.int32()), ("first_place", pa.int64()), ("risk", pa.int8())])
"""Marked rows of one shard: `first_place`, the row of the pool that holds the first copy of the
pair, null where this is the first; `risk`, a code of `RISKS`."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What is said about n keys, in their order."""

    first_places: np.ndarray
    """int64 (n,): place of the first row of the same pair, the key's own where it is the first."""
    risks: np.ndarray
    """int8 (n,): code of the risk; a repetition and an impure pair have none."""


def pool_keys(screened: pa.Table) -> pa.Table:
    """`POOL_KEY_SCHEMA` of a shard with `SCREENED_SCHEMA`; unfit pairs have no keys."""
    reasons = screened.column("screen_reason").combine_chunks()
    sound = pc.invert(pc.is_in(reasons, pa.array(STRUCTURAL_REASONS)))
    keyed = screened.select([*EDGE_COLUMNS, *KEY_COLUMNS])
    rows = from_numbers(np.arange(screened.num_rows, dtype=np.int32))
    keyed = keyed.append_column("is_pure", pc.is_null(reasons)).append_column("row", rows)
    return keyed.filter(sound).select(POOL_KEY_SCHEMA.names).cast(POOL_KEY_SCHEMA)


def marks_of(keys: pa.Table, places: np.ndarray) -> Marks:
    """What keys say about each other.

    Args:
        keys: n rows of `POOL_KEY_SCHEMA` in the order of the pool; every conversation is whole.
        places: int64 (n,) rows of the pool, ascending.
    """
    first = first_copies(keys)
    is_pure = np.asarray(keys.column("is_pure").combine_chunks())
    alive = np.flatnonzero((first == np.arange(len(first))) & is_pure)
    risks = np.zeros(len(first), dtype=np.int8)
    risks[alive] = _risks(keys.take(from_numbers(alive)))
    return Marks(places[first], risks)


def mark_table(rows: np.ndarray, first_places: np.ndarray, risks: np.ndarray) -> pa.Table:
    """`MARK_SCHEMA` from int32 rows, int64 first places (-1 for none) and int8 risks, (m,) each."""
    order = np.argsort(rows, kind="stable")
    first = first_places[order]
    columns = [
        pa.array(rows[order], pa.int32()),
        pa.array(first, pa.int64(), mask=first < 0),
        pa.array(risks[order], pa.int8()),
    ]
    return pa.Table.from_arrays(columns, schema=MARK_SCHEMA)


def _risks(edges: pa.Table) -> np.ndarray:
    """(n,) int8: risk of pure pairs, each there once; a contradicted content is on no cycle."""
    contradicted = contradicted_rows(edges)
    sizes = cycle_sizes(edges, contradicted=contradicted)
    risks = np.zeros(edges.num_rows, dtype=np.int8)
    risks[sizes > 0] = RISKS.index(CYCLE)
    risks[sizes > MAX_CYCLE_RESPONSES] = RISKS.index(LARGE_CYCLE)
    risks[contradicted] = RISKS.index(CONTRADICTION)
    return risks
