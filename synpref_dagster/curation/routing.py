"""Which clean pairs people and judges work on in stage 1, and which wait for stage 2 (Sec. 3.2).

Pairs that people labelled go to stage 1. So do risky ones of other origin - contradictory labels
and preference cycles, of which at least one label must be wrong - up to a share of the former,
because stage 1 costs people's time.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from synpref_dagster.curation.pairs import is_among
from synpref_dagster.curation.pooling import CONTRADICTION, CYCLE, LARGE_CYCLE


def in_stage_one(
    clean: pd.DataFrame, *, max_risky_share: float, already: Iterable[bytes] = ()
) -> np.ndarray:
    """(n,) bool: whether each clean pair belongs to the unverified pool.

    Groups stay together: all labels of a contradicted content, all pairs of a conversation's
    cycles. Contradictions come first, then cycles, small groups before large ones. Who was there
    before stays, whatever arrives: people and judges may have labelled it by now.

    Args:
        clean: columns pair_id, content_id, conversation_id, origin and risk.
        max_risky_share: most risky pairs of other origin, as a share of the human-labelled ones.
        already: ids of the pairs of the unverified pool so far.
    """
    human = (clean["origin"] == "human").to_numpy(bool)
    stays = is_among(clean["pair_id"], already) & ~human
    most = int(max_risky_share * human.sum()) - int(stays.sum())
    risk = clean["risk"].to_numpy(object)
    candidates = np.flatnonzero(~human & ~stays & ((risk == CONTRADICTION) | (risk == CYCLE)))
    on_cycle = risk[candidates] == CYCLE
    groups = np.where(
        on_cycle,
        clean["conversation_id"].to_numpy(object)[candidates],
        clean["content_id"].to_numpy(object)[candidates],
    )
    routed = human | stays
    routed[candidates[_first_groups(groups, on_cycle, most)]] = True
    return routed


def risk_counts(clean: pd.DataFrame) -> dict[str, int]:
    """Number of pairs with each risk."""
    counts = clean["risk"].value_counts()
    names = (CONTRADICTION, CYCLE, LARGE_CYCLE)
    return {f"num_{risk}": int(counts.get(risk, 0)) for risk in names}


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
