"""The strict pass: every text of every candidate is compared, and nothing barred gets through."""

import pyarrow as pa
import pytest

from synpref_dagster.curation.contamination.rules import (
    BenchmarkPrompt,
    DecontaminationConfig,
    build_index,
)
from synpref_dagster.curation.contamination.strict import (
    CANDIDATE_SCHEMAS,
    OVERLAP_SCHEMA,
    OverlapTally,
    barred_pairs,
    find_overlaps_of_people,
    find_risky_overlaps,
    overlaps_of,
    stage_one_candidates,
    with_recheck,
)
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table

BOATS, APPLES = "boats sail far north at night", "red apples fall down in autumn"


def pair(name, *, chosen="yes", rejected="no", origin="human"):
    return PreferencePair(
        conversation=({"role": "user", "content": name},), chosen=chosen, rejected=rejected,
        source="s", origin=origin,
    )  # fmt: skip


CLEAN = pair("nothing")
PROMPT = pair(f"tell me why {BOATS}")
CHOSEN = pair("why", chosen=f"because {APPLES} and {BOATS}")
REJECTED = pair("how", rejected=f"well, {APPLES}")
RISKY = pair("who", chosen=BOATS, origin="synthetic")
OTHER = pair("when", chosen=BOATS, origin="synthetic")
DROPPED = pair(BOATS, chosen="same", rejected="same too")
RAW = [CLEAN, PROMPT, CHOSEN, PROMPT, REJECTED, RISKY, OTHER, DROPPED]


def index_of(benchmark, text, **config):
    settings = {"min_words": 4, "max_words": 13, "scope": "all_texts", **config}
    return build_index([BenchmarkPrompt(benchmark, "1", text)], DecontaminationConfig(**settings))


def clean_shard(*pairs):
    risky = pa.array([each is RISKY for each in pairs])
    table = pairs_to_table(list(pairs)).select(["pair_id", "origin"])
    return table.append_column("risky", risky)


SHARD = clean_shard(CLEAN, PROMPT, CHOSEN, REJECTED, RISKY, OTHER)


def overlaps(shard=SHARD, **config):
    risky = stage_one_candidates(shard)["risky"]
    indexes = [index_of("boats", BOATS, **config), index_of("apples", APPLES, **config)]
    raw = pairs_to_table(RAW)
    looks = find_overlaps_of_people(raw, indexes), find_risky_overlaps(raw, risky, indexes)
    return overlaps_of(shard, *looks[0], *looks[1])


def ids(table):
    return table["pair_id"].combine_chunks().storage.to_pylist()


def test_people_s_pairs_and_risky_ones_could_come_into_stage_one():
    found = stage_one_candidates(SHARD)
    assert ids(found["risky"]) == [RISKY.pair_id]
    assert found["counts"].to_pylist() == [{"num_human": 4, "num_risky": 1}]
    assert {name: each.schema for name, each in found.items()} == CANDIDATE_SCHEMAS


def test_every_text_of_a_candidate_is_compared_and_each_finding_has_its_words():
    found = overlaps()
    assert found.schema == OVERLAP_SCHEMA
    names = {each.pair_id: each for each in RAW}
    listed = [
        (names[row["pair_id"].bytes], row["field"], row["benchmark"], row["gram"], row["cleared"])
        for row in found.to_pylist()
    ]
    assert listed == [
        (PROMPT, "conversation", "boats", BOATS, False),
        (CHOSEN, "chosen", "apples", APPLES, False),
        (CHOSEN, "chosen", "boats", BOATS, False),
        (REJECTED, "rejected", "apples", APPLES, False),
        (RISKY, "chosen", "boats", BOATS, False),
    ]


def test_what_left_the_pool_is_not_listed_and_what_comes_back_is():
    fewer = overlaps(clean_shard(CLEAN, REJECTED))
    assert ids(fewer) == [REJECTED.pair_id]
    assert DROPPED.pair_id in ids(overlaps(clean_shard(CLEAN, DROPPED)))


def test_each_pair_is_looked_at_once_by_people_s_look_or_by_that_of_risky_ones():
    indexes = [index_of("boats", BOATS)]
    both = pairs_to_table(RAW)
    wanted = pairs_to_table([CHOSEN, RISKY]).select(["pair_id"])
    [of_people], [risky] = (
        find_overlaps_of_people(both, indexes),
        find_risky_overlaps(both, wanted, indexes),
    )
    assert of_people["row"].to_pylist() == [1, 2, 3, 7]
    assert risky["row"].to_pylist() == [5]
    assert ids(risky) == [RISKY.pair_id]


def test_shorter_runs_of_words_find_more():
    near = clean_shard(pair("x", chosen="boats sail far south"))
    raw = pairs_to_table([pair("x", chosen="boats sail far south")])
    for min_words, num_found in ((3, 1), (4, 0)):
        index = index_of("boats", BOATS, min_words=min_words)
        hits = find_overlaps_of_people(raw, [index])
        assert overlaps_of(near, *hits).num_rows == num_found


def rechecked(*rows):
    listed = [{"pair_id": each.pair_id, "cleared": cleared} for each, cleared in rows]
    schema = pa.schema([CANDIDATE_SCHEMAS["risky"].field("pair_id"), ("cleared", pa.bool_())])
    columns = [
        pa.array([row["pair_id"] for row in listed], pa.binary(16)).cast(schema.field(0).type)
        if listed else pa.array([], schema.field(0).type),
        pa.array([row["cleared"] for row in listed], pa.bool_()),
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=schema)


def test_a_pair_is_cleared_when_all_that_it_shares_is_coincidence():
    said = rechecked((PROMPT, True), (CHOSEN, True), (CHOSEN, False), (RISKY, True))
    found = with_recheck(overlaps(), said)
    assert found["cleared"].to_pylist() == [True, False, False, False, True]
    assert ids(barred_pairs(found)) == [CHOSEN.pair_id, REJECTED.pair_id]
    assert with_recheck(overlaps(), rechecked()).equals(overlaps())


def test_every_pair_that_is_not_cleared_is_barred_once():
    expected = [PROMPT, CHOSEN, REJECTED, RISKY]
    assert ids(barred_pairs(overlaps())) == [each.pair_id for each in expected]
    nothing = barred_pairs(OVERLAP_SCHEMA.empty_table())
    assert (nothing.num_rows, nothing.schema) == (0, CANDIDATE_SCHEMAS["risky"])


def test_the_tally_counts_pairs_and_shows_what_is_shared_most():
    found = with_recheck(overlaps(), rechecked((PROMPT, True)))
    tally = OverlapTally().add([found, OVERLAP_SCHEMA.empty_table()])
    assert (tally.num_pairs, tally.num_barred) == (4, 3)
    assert tally.by_benchmark == {"boats": 2, "apples": 2}
    assert tally.fields() == {"conversation": 0, "chosen": 2, "rejected": 1}
    assert tally.most_shared(1).to_dict("records") == [
        {"shared words": BOATS, "benchmark": "boats", "times": 2}
    ]


@pytest.mark.parametrize("shard", [clean_shard(OTHER), SHARD.slice(0, 0)])
def test_a_shard_without_candidates_has_no_overlap(shard):
    assert overlaps(shard).equals(OVERLAP_SCHEMA.empty_table())
