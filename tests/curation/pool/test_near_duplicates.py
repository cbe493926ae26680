"""Near-duplicates of a pool: found whatever the label, confirmed on the texts, never squared."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from synpref_dagster.curation.pool.near_duplicates import (
    BAND_COLUMNS,
    RELATIONS,
    SIGNED_SCHEMA,
    candidate_links,
    cluster_table,
    confirm_links,
    count_by_sources,
    examples,
    jaccard,
    relation,
    rows_of,
    sign_shard,
    summary,
    token_grams,
)
from synpref_dagster.curation.texts.minhash import NUM_BANDS
from synpref_dagster.pairs.record import PAIR_SCHEMA, PreferencePair, id_array, pairs_to_table
from synpref_dagster.storage import to_frame

ASK = "Explain in plain words why the sky over the harbour turns red when evening comes near us"
GOOD = "Low sun crosses more air, blue light is scattered away, and red light is what is left over"
BAD = "Because the sea is blue in the daytime and the evening wind carries its colour far away"


def pair(ask=ASK, chosen=GOOD, rejected=BAD, *, source="one"):
    return PreferencePair(
        conversation=({"role": "user", "content": ask},),
        chosen=chosen,
        rejected=rejected,
        source=source,
        origin="synthetic",
    )


def found(pairs, *, min_similarity=0.8):
    """Links of a pool as (row, row, relation), first by MinHash, then on the texts."""
    signed = sign_shard(pairs_to_table(pairs))
    rows = candidate_links(signed[band].to_numpy() for band in BAND_COLUMNS)
    ids = [each.pair_id for each in pairs]
    by_id = dict(zip(ids, pairs, strict=True))
    links = confirm_links(
        [(ids[first], ids[second]) for first, second in rows.tolist()],
        lambda wanted: [by_id[each] for each in wanted],
        min_similarity=min_similarity,
    )
    frame = to_frame(links)
    return frame, [
        (ids.index(row.first_pair_id), ids.index(row.second_pair_id), row.relation)
        for row in frame.itertuples()
    ]


def test_a_pool_of_different_pairs_has_no_links():
    draw = random.Random(0)
    pairs = [
        pair(*(" ".join(f"w{draw.randrange(5000)}" for _ in range(30)) for _ in range(3)))
        for _ in range(50)
    ]
    frame, links = found(pairs)
    assert links == []
    assert summary(frame, {})["num_clusters"] == 0


def test_a_changed_word_is_found_and_the_relation_says_how_the_labels_stand():
    pairs = [
        pair(),
        pair(ASK + " all"),
        pair(ASK + " now", BAD, GOOD, source="two"),
        pair("Name a fruit that grows on a tall tree in the garden behind the house"),
    ]
    frame, links = found(pairs)
    assert (0, 1, "same_label") in links
    assert (0, 2, "opposite_label") in links
    assert not any(3 in link[:2] for link in links)
    assert frame["similarity"].between(0.8, 1, inclusive="left").all()
    assert (frame["estimate"] - frame["similarity"]).abs().max() < 0.3


def test_the_same_content_under_both_labels_is_the_contradiction_cleaning_knows():
    _, links = found([pair(), pair(chosen=BAD, rejected=GOOD)])
    assert links == [(0, 1, "contradiction")]


def test_numbers_and_signs_tell_pairs_apart_that_the_hashed_words_do_not():
    sums = [pair(f"What is {n} + {9 - n} ?", f"It is {n}", f"It is {n + 1}") for n in range(1, 6)]
    _, links = found(sums)
    assert links == []
    _, links = found([*sums, pair("what is 1 + 8 ?", "It is 1", "It is 2")])
    assert links == [(0, 5, "same_label")]


def test_a_long_prompt_with_other_responses_is_similar_text_only():
    ask = " ".join([ASK, *(f"Point {n} of the brief is about subject {n * n}." for n in range(40))])
    _, links = found([pair(ask, "Sure", "Why"), pair(ask, "Fine", "Never")])
    assert links == [(0, 1, "similar_text")]


def test_responses_of_the_same_words_in_other_order_are_not_the_same():
    first = pair(ASK, "Ann beats Bob", "Bob beats Ann")
    assert relation(first, pair(ASK + " !", "Ann beats Bob", "Bob beats Ann"), 0.8) == "same_label"
    other = pair(ASK + " !", "Bob beats Ann", "Ann beats Bob")
    assert relation(first, other, 0.8) == "opposite_label"


def members_of(first, second):
    """pair_id -> number of its cluster."""
    links = pa.table(
        {"first_pair_id": id_array(list(first)), "second_pair_id": id_array(list(second))}
    )
    table = cluster_table(links)
    ids = table.column("pair_id").combine_chunks().storage.to_pylist()
    return dict(zip(ids, table.column("cluster").to_pylist(), strict=True))


def test_every_near_copy_joins_the_cluster_of_its_original():
    words = [f"word{n}" for n in range(120)]
    copies = []
    for number in range(60):
        changed = list(words)
        changed[number] = f"other{number}"
        copies.append(pair(" ".join(changed)))
    frame, links = found(copies)
    members = members_of(frame["first_pair_id"], frame["second_pair_id"])
    assert len(members) == 60
    assert set(members.values()) == {0}
    # Compared with the first of each group only: far fewer than the 1,770 pairs of pairs.
    assert len(links) < 60 * NUM_BANDS / 2


def test_recall_against_all_pairs_of_pairs():
    draw = random.Random(3)
    base = [" ".join(f"w{draw.randrange(9999)}" for _ in range(80)) for _ in range(40)]
    pairs = [pair(text) for text in base]
    pairs += [pair(" ".join([*text.split()[:-4], "and so on now"])) for text in base]
    _, links = found(pairs)
    whole = [
        " ".join([each.conversation[0]["content"], *sorted((each.chosen, each.rejected))])
        for each in pairs
    ]
    grams = [token_grams(text, [5]) for text in whole]
    truth = {
        (one, other)
        for one, other in itertools.combinations(range(len(pairs)), 2)
        if jaccard(grams[one], grams[other]) >= 0.8
    }
    assert len(truth) == 40
    assert len(truth & {link[:2] for link in links}) >= 39
    assert {link[:2] for link in links} <= truth


def test_candidates_meet_in_two_bands_and_each_row_is_linked_to_the_first_of_its_group():
    bands = [
        np.array([7, 7, 7, 1], dtype=np.uint64),
        np.array([5, 5, 6, 1], dtype=np.uint64),
        np.array([3, 4, 3, 8], dtype=np.uint64),
        np.array([0, 1, 2, 9], dtype=np.uint64),
    ]
    assert candidate_links(iter(bands)).tolist() == [[0, 1], [0, 2]]
    assert candidate_links(iter(bands[:1])).tolist() == []
    assert candidate_links(iter([np.empty(0, dtype=np.uint64)] * 2)).tolist() == []


def test_rows_of_a_selection_are_first_occurrences():
    ids = [bytes([number]) * 15 + b"\x00" for number in range(5)]
    raw = pa.table({"pair_id": id_array([ids[0], ids[1], ids[0], ids[2], ids[1], ids[3]])})
    wanted = pa.table({"pair_id": id_array([ids[3], ids[1], ids[0]])})
    assert rows_of(raw, wanted).tolist() == [0, 1, 5]
    assert rows_of(raw, wanted.slice(0, 0)).tolist() == []


def test_clusters_are_chains_of_links():
    names = [bytes([number]) * 16 for number in range(6)]
    members = members_of([names[0], names[3], names[1]], [names[1], names[4], names[2]])
    assert members == {names[0]: 0, names[1]: 0, names[3]: 1, names[4]: 1, names[2]: 0}
    # In the order in which the links name them, whoever reads the table.
    assert list(members) == [names[0], names[1], names[3], names[4], names[2]]


def test_counts_and_figures_add_up():
    pairs = [pair(), pair(ASK + " all"), pair(ASK + " now", BAD, GOOD, source="two")]
    frame, links = found(pairs)
    counts = count_by_sources(frame)
    assert counts[list(RELATIONS)].to_numpy().sum() == len(links)
    assert set(zip(counts["one_source"], counts["other_source"], strict=True)) <= {
        ("one", "one"),
        ("one", "two"),
    }
    members = members_of(frame["first_pair_id"], frame["second_pair_id"])
    figures = summary(frame, members)
    assert figures["num_in_clusters"] == 3
    assert figures["num_beyond_the_first"] == 2
    assert figures["largest_cluster"] == 3
    assert figures["num_links"] == sum(figures[f"num_{name}"] for name in RELATIONS)
    shown = examples(frame, per_relation=1)
    assert sorted(shown["relation"]) == sorted(set(frame["relation"]))
    assert bytes.fromhex(shown["first_pair_id"].iloc[0]) in members


def test_no_candidates_give_an_empty_table_with_the_same_columns():
    empty = confirm_links([], lambda wanted: [], min_similarity=0.8)
    full = confirm_links(
        [(pair().pair_id, pair(ASK + " all").pair_id)],
        lambda wanted: [pair(), pair(ASK + " all")],
        min_similarity=0.8,
    )
    assert empty.schema == full.schema
    assert (empty.num_rows, full.num_rows) == (0, 1)
    assert cluster_table(empty).num_rows == 0
    assert cluster_table(full).column_names == ["pair_id", "cluster"]
    assert len(count_by_sources(to_frame(empty))) == len(examples(to_frame(empty))) == 0


@pytest.mark.parametrize("rows", [0, 3])
def test_signing_a_shard_keeps_order_and_survives_missing_texts(rows):
    table = pairs_to_table([pair(f"question {number}") for number in range(rows)])
    signed = sign_shard(table)
    assert signed.schema == SIGNED_SCHEMA
    assert signed["pair_id"].to_pylist() == table["pair_id"].to_pylist()
    if rows:
        place = PAIR_SCHEMA.get_field_index("chosen")
        missing = table.set_column(place, PAIR_SCHEMA.field(place), pa.nulls(rows, pa.string()))
        assert sign_shard(missing).num_rows == rows
