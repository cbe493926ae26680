"""Who works on a clean pair first: people's pairs all, risky ones in whole groups up to a bound."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.curation.pool.marks import CONTRADICTION, CYCLE, LARGE_CYCLE
from synpref_dagster.curation.pool.routing import (
    pool_of_stage,
    risky_candidates,
    routable,
    routed_to_stage_one,
)
from synpref_dagster.curation.pool.selection import CLEAN_SCHEMA
from synpref_dagster.pairs.record import id_array, is_among
from synpref_dagster.storage import to_frame


def identity(number):
    return bytes([number]) * 16


def pool(*rows):
    """(origin, risk, content, conversation) per pair; identities are numbers."""
    frame = pd.DataFrame(rows, columns=["origin", "risk", "content_id", "conversation_id"])
    for column in ("content_id", "conversation_id"):
        frame[column] = [identity(number) for number in frame[column]]
    frame["pair_id"] = [identity(200 - number) for number in range(len(frame))]
    return frame


TEN_PEOPLE = [("human", "", number, number) for number in range(10)]
CONTRADICTED = [("synthetic", CONTRADICTION, 50, 50)] * 2
CIRCLE = [("synthetic", CYCLE, number, 60) for number in (61, 62, 63)]
LARGE_CIRCLE = [("synthetic", CYCLE, number, 70) for number in (71, 72, 73, 74)]
PLAIN = [("synthetic", "", 80, 80)]
CLEAN = pool(*TEN_PEOPLE, *LARGE_CIRCLE, *CIRCLE, *CONTRADICTED, *PLAIN)


def clean_table(clean):
    columns = {
        name: id_array(clean[name].tolist())
        for name in ("pair_id", "content_id", "conversation_id")
    }
    risky = clean["risk"].isin([CONTRADICTION, CYCLE]).tolist()
    columns |= {"source": ["s"] * len(clean), "origin": clean["origin"].tolist(), "risky": risky}
    return pa.table({**columns, "risk": clean["risk"].tolist()}, schema=CLEAN_SCHEMA)


def ids(*pairs):
    return pa.table({"pair_id": id_array([each for part in pairs for each in part])})


def in_stage_one(clean, *, max_risky_share, already=(), barred=()):
    """Mask of the clean pairs that stage 1 gets, by the three steps; stage 2 gets the others."""
    table = clean_table(clean)
    found = risky_candidates(table, ids(barred))
    candidates = to_frame(found["candidates"])
    mask = routed_to_stage_one(
        candidates,
        num_human=found["origins"]["num_human"][0].as_py(),
        max_share=max_risky_share,
        already=already,
    )
    chosen = ids(candidates["pair_id"][mask])
    first, second = (
        to_frame(pool_of_stage(table, chosen, ids(barred), stage=stage)) for stage in (1, 2)
    )
    inside = is_among(clean["pair_id"], first["pair_id"])
    assert (is_among(clean["pair_id"], second["pair_id"]) == ~inside).all()
    return inside


def routed(clean, share):
    mask = in_stage_one(clean, max_risky_share=share)
    return clean[mask & (clean["origin"] != "human").to_numpy()]


@pytest.mark.parametrize(
    ("share", "num_routed"), [(0.0, 0), (0.1, 0), (0.2, 2), (0.4, 2), (0.5, 5), (0.9, 9), (5, 9)]
)
def test_groups_come_whole_contradictions_first_then_small_cycles(share, num_routed):
    found = routed(CLEAN, share)
    assert len(found) == num_routed
    assert len(found) <= share * 10
    for _, group in CLEAN[CLEAN["risk"] != ""].groupby("conversation_id"):
        assert is_among(found["content_id"], group["content_id"]).sum() in (0, len(group))
    if num_routed:
        assert (found["risk"] == CONTRADICTION).sum() == 2


def test_people_s_pairs_are_always_in_and_plain_ones_never():
    for share in (0.0, 10.0):
        mask = in_stage_one(CLEAN, max_risky_share=share)
        assert mask[:10].all()
        assert not mask[-1]


def test_the_twin_of_a_people_s_pair_comes_in_alone():
    clean = pool(
        *TEN_PEOPLE[:9], ("human", CONTRADICTION, 9, 9), ("synthetic", CONTRADICTION, 9, 9)
    )
    assert in_stage_one(clean, max_risky_share=0.1).all()


def test_the_order_of_the_pool_changes_nothing():
    ties = pool(
        *TEN_PEOPLE,
        *(("synthetic", CONTRADICTION, number, number) for number in (20, 21, 22) for _ in (0, 1)),
    )
    order = np.random.default_rng(0).permutation(len(ties))
    mask = in_stage_one(ties, max_risky_share=0.4)
    assert mask.sum() == 14
    assert (in_stage_one(ties.iloc[order], max_risky_share=0.4) == mask[order]).all()


def test_a_pool_without_people_or_without_risk_is_split_by_origin():
    assert not in_stage_one(pool(*CONTRADICTED, *PLAIN), max_risky_share=1.0).any()
    assert in_stage_one(pool(*TEN_PEOPLE, *PLAIN), max_risky_share=1.0).sum() == 10
    assert len(in_stage_one(pool(), max_risky_share=1.0)) == 0


def test_a_large_cycle_singles_out_no_pair_and_sends_none():
    noisy = [("synthetic", LARGE_CYCLE, 90, 90)] * 3
    assert routed(pool(*TEN_PEOPLE, *noisy), 10.0).empty


def test_who_was_in_stage_one_stays_when_others_would_come_first():
    first = pool(*TEN_PEOPLE, *CIRCLE)
    stayed = set(first[in_stage_one(first, max_risky_share=0.3)]["pair_id"])
    assert len(stayed) == 13
    # Contradictions come before cycles, but not in place of a cycle that is there already.
    grown = pool(*TEN_PEOPLE, *CIRCLE, *CONTRADICTED)
    afresh = set(grown[in_stage_one(grown, max_risky_share=0.3)]["pair_id"])
    assert not stayed <= afresh
    again = set(grown[in_stage_one(grown, max_risky_share=0.3, already=stayed)]["pair_id"])
    assert again == stayed
    with_room = in_stage_one(grown, max_risky_share=0.5, already=stayed)
    assert with_room.all()


def test_barred_pairs_never_come_into_stage_one_whoever_labelled_them():
    clean = pool(*TEN_PEOPLE, *CONTRADICTED)
    barred = [clean["pair_id"][0], clean["pair_id"][10]]
    mask = in_stage_one(clean, max_risky_share=1.0, barred=barred)
    assert clean["pair_id"][~mask].tolist() == barred


def test_of_former_pairs_those_that_no_person_labelled_and_nobody_barred_are_routable():
    clean = pool(*TEN_PEOPLE[:2], *PLAIN, *CONTRADICTED)
    named, barred = ids(clean["pair_id"][[1, 2, 3]]), ids(clean["pair_id"][[3]])
    found = to_frame(routable(clean_table(clean), named, barred))
    assert found["pair_id"].tolist() == [clean["pair_id"][2]]
