"""Which clean pairs people and judges work on in stage 1, and which wait for stage 2 (Sec. 3.2).

Pairs that people labelled go to stage 1. So do risky ones of other origin - contradictory labels
and preference cycles, of which at least one label must be wrong - up to a share of the former,
because stage 1 costs people's time.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.pool.marks import CYCLE
from synpref_dagster.curation.pool.selection import CLEAN_SCHEMA, POOL_COLUMNS
from synpref_dagster.pairs.record import is_among

HUMAN = "human"
CANDIDATE_COLUMNS = ["pair_id", "content_id", "conversation_id", "risk"]
CANDIDATE_SCHEMA = pa.schema([CLEAN_SCHEMA.field(name) for name in CANDIDATE_COLUMNS])
ORIGIN_SCHEMA = pa.schema([("num_human", pa.int64())])


def risky_candidates(clean: pa.Table, *barred: pa.Table) -> dict[str, pa.Table]:
    """The pairs of one shard that no person labelled, and that stage 1 should see.

    Args:
        clean: `CLEAN_SCHEMA`.
        barred: each with the column pair_id: pairs that may not come into stage 1.

    Returns:
        "candidates" with `CANDIDATE_SCHEMA`; "origins" with `ORIGIN_SCHEMA`, one row that counts
        the pairs of people.
    """
    of_people = pc.equal(clean["origin"], HUMAN)
    wanted = pc.and_not(clean["risky"], pc.or_(of_people, _is_barred(clean, barred)))
    count = pa.array([pc.sum(of_people, min_count=0).as_py()], pa.int64())
    return {
        "candidates": clean.filter(wanted).select(CANDIDATE_COLUMNS).cast(CANDIDATE_SCHEMA),
        "origins": pa.Table.from_arrays([count], schema=ORIGIN_SCHEMA),
    }


def routable(clean: pa.Table, wanted: pa.Table, *barred: pa.Table) -> pa.Table:
    """The wanted pairs of one shard that no person labelled and that are not barred."""
    of_people = pc.equal(clean["origin"], HUMAN)
    excluded = pc.or_(of_people, _is_barred(clean, barred))
    return clean.filter(pc.and_not(_is_in(clean, wanted), excluded))


def routed_to_stage_one(
    candidates: pd.DataFrame, *, num_human: int, max_share: float, already: Iterable[bytes] = ()
) -> np.ndarray:
    """(n,) bool: which risky pairs that no person labelled come into stage 1 all the same.

    Groups stay together: all labels of a contradicted content, all pairs of a conversation's
    cycles. Contradictions come first, then cycles, small groups before large ones. Who was there
    before stays, whatever arrives: people and judges may have labelled it by now.

    Args:
        candidates: `CANDIDATE_COLUMNS`, in any order.
        num_human: pairs that people labelled.
        max_share: most routed pairs, as a share of those.
        already: ids of the pairs that were routed before.
    """
    stays = is_among(candidates["pair_id"], already)
    others = np.flatnonzero(~stays)
    on_cycle = (candidates["risk"] == CYCLE).to_numpy(bool)[others]
    groups = np.where(
        on_cycle,
        candidates["conversation_id"].to_numpy(object)[others],
        candidates["content_id"].to_numpy(object)[others],
    )
    most = int(max_share * num_human) - int(stays.sum())
    routed = stays.copy()
    routed[others[_first_groups(groups, on_cycle, most)]] = True
    return routed


def pool_of_stage(clean: pa.Table, routed: pa.Table, *barred: pa.Table, stage: int) -> pa.Table:
    """The pairs of one shard that belong to a stage, with `POOL_COLUMNS`.

    Args:
        clean: `CLEAN_SCHEMA`.
        routed: pair_id of the pairs of other origin that come into stage 1.
        barred: each with the column pair_id: pairs that may not.
        stage: 1 or 2.
    """
    first = pc.and_not(pc.equal(clean["origin"], HUMAN), _is_barred(clean, barred))
    first = pc.or_(first, _is_in(clean, routed))
    return clean.filter(first if stage == 1 else pc.invert(first)).select(POOL_COLUMNS)


def _is_barred(clean: pa.Table, barred: Iterable[pa.Table]) -> pa.Array:
    found = pa.repeat(False, clean.num_rows)
    for table in barred:
        found = pc.or_(found, _is_in(clean, table))
    return found


def _is_in(clean: pa.Table, named: pa.Table) -> pa.Array:
    ids, others = (each["pair_id"].combine_chunks().storage for each in (clean, named))
    return pc.is_in(ids, value_set=others)


def _first_groups(groups: np.ndarray, on_cycle: np.ndarray, most: int) -> np.ndarray:
    """(n,) bool: members of the groups that come first and have at most `most` members together."""
    if not len(groups):
        return np.zeros(0, dtype=bool)
    members = pd.DataFrame({"group": groups, "on_cycle": on_cycle})
    sizes = members.groupby(["on_cycle", "group"], sort=False).size().rename("size").reset_index()
    # Ids are hashes: among equals their order is as good as a draw, and the same every time.
    ordered = sizes.sort_values(["on_cycle", "size", "group"], kind="stable")
    fitting = ordered[ordered["size"].cumsum() <= most]
    chosen = set(zip(fitting["on_cycle"], fitting["group"], strict=True))
    return np.fromiter(
        ((bool(cycle), group) in chosen for cycle, group in zip(on_cycle, groups, strict=True)),
        dtype=bool,
        count=len(groups),
    )
