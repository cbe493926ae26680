"""Curated rows by shard are those that the final training set would have, with tier and split."""

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.release.curated_rows import (
    STAGE_ONE_SCHEMA,
    decided_rows,
    rows_of_shard,
    stage_one_rows,
)
from synpref_dagster.curation.release.training_sets import final_training_set
from synpref_dagster.curation.verification.gold_silver import validation_conversations
from synpref_dagster.pairs.ids import first_of_each, repeated_keys
from synpref_dagster.pairs.record import id_index, table_from_frame


def an_id(number, kind):
    return kind + number.to_bytes(13, "big") + b"\x00\x00"


def frame(rows):
    """(pair, content) numbers; two contents share a conversation."""
    rows = list(rows)
    return pd.DataFrame(
        {
            "pair_id": id_index(an_id(p, b"p") for p, _ in rows),
            "content_id": id_index(an_id(c, b"c") for _, c in rows),
            "conversation_id": id_index(an_id(c // 2, b"x") for _, c in rows),
        }
    )


def labelled(*rows):
    """(pair, content, label, split)."""
    found = frame((p, c) for p, c, _, _ in rows)
    label = np.array([label for _, _, label, _ in rows], dtype=np.int8)
    return found.assign(label=label, split=[split for *_, split in rows])


def decided(*rows):
    """(pair, content, decision)."""
    found = frame((p, c) for p, c, _ in rows)
    return found.assign(decision=pd.Series([d for *_, d in rows], dtype=object))


def number_of(pair_id):
    return int.from_bytes(pair_id[1:14], "big")


def by_shard(shards, gold, silver):
    """(pair, label, tier, split) of every row, the shards decided as the asset does."""
    stage_one = stage_one_rows(gold, silver)
    tables = [table_from_frame(shard) for shard in shards]
    found = [
        decided_rows(table, stage_one, decision=decision)
        for decision in ("kept", "flipped")
        for table in tables
    ]
    once = list(first_of_each(found, repeated_keys(found, "content_id"), "content_id"))
    rows = []
    for number, (shard, table) in enumerate(zip(shards, tables, strict=True)):
        kept, flipped = once[number], once[len(tables) + number]
        for row in rows_of_shard(
            table, kept=kept, flipped=flipped, stage_one=stage_one
        ).itertuples():
            pair = number_of(shard["pair_id"][row.place])
            rows.append((pair, int(row.label), row.tier, row.split))
    return rows


GOLD = labelled((1, 10, -1, "train"), (2, 20, 1, "validation"))
SILVER = labelled((3, 30, 1, "train"), (4, 10, 1, "train"))


def test_people_outrank_judges_and_judges_the_filter():
    shards = [
        decided((1, 10, "discarded"), (5, 10, "kept"), (6, 60, "kept"), (7, 70, "flipped")),
        decided((3, 30, "flipped"), (8, 80, "discarded"), (2, 20, "kept")),
    ]
    assert by_shard(shards, GOLD, SILVER) == [
        (1, -1, "gold", "train"),
        (6, 1, "curated", "train"),
        (7, -1, "recycled", "train"),
        (3, 1, "silver", "train"),
        (2, 1, "gold", "validation"),
    ]


def test_nothing_of_a_conversation_that_validates_trains():
    shard = decided((2, 20, "kept"), (9, 21, "kept"), (6, 60, "kept"))
    assert by_shard([shard], GOLD, SILVER.iloc[:0]) == [
        (6, 1, "curated", "train"),
        (2, 1, "gold", "validation"),
    ]


def test_a_kept_pair_outranks_its_flipped_twin_in_an_earlier_shard():
    shards = [decided((1, 50, "flipped")), decided((2, 50, "kept")), decided((3, 50, "kept"))]
    assert by_shard(shards, GOLD.iloc[:0], SILVER.iloc[:0]) == [(2, 1, "curated", "train")]


def test_an_empty_shard_and_a_campaign_without_labels_give_no_rows():
    assert by_shard([decided()], GOLD.iloc[:0], SILVER.iloc[:0]) == []
    assert stage_one_rows(GOLD.iloc[:0], SILVER.iloc[:0]).schema == STAGE_ONE_SCHEMA


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_shards_give_the_final_training_set(data):
    num_pairs = data.draw(st.integers(1, 14))
    contents = data.draw(st.lists(st.integers(0, 8), min_size=num_pairs, max_size=num_pairs))
    decisions = data.draw(
        st.lists(
            st.sampled_from(["kept", "flipped", "discarded"]),
            min_size=num_pairs,
            max_size=num_pairs,
        )
    )
    pool = [(n, content, d) for n, (content, d) in enumerate(zip(contents, decisions, strict=True))]
    sorts = data.draw(
        st.lists(
            st.sampled_from(["no", "train", "validation", "silver"]),
            min_size=num_pairs,
            max_size=num_pairs,
        )
    )
    first = {content: n for n, content, _ in reversed(pool)}
    known = [(n, c, (-1) ** n, sorts[n]) for n, c, _ in pool if first[c] == n]
    gold = labelled(*(row for row in known if row[3] in ("train", "validation")))
    silver = labelled(*(row for row in known if row[3] == "silver"))
    cut = data.draw(st.integers(0, num_pairs))
    shards = [decided(*pool[:cut]), decided(*pool[cut:])]
    expected = final_training_set(
        # As the asset's selection stands: all kept pairs, then all others.
        pd.concat([decided(*(r for r in pool if (r[2] == "kept") == kept)) for kept in (1, 0)]),
        gold=gold,
        silver=silver,
        held_out=validation_conversations(gold),
        with_recycled=True,
    )
    wanted = {number_of(row.pair_id): int(row.label) for row in expected.itertuples()}
    found = by_shard(shards, gold, silver)
    assert {pair: label for pair, label, _, split in found if split == "train"} == wanted
    assert len(found) == len(wanted) + int((gold["split"] == "validation").sum())


def test_tables_of_stage_one_are_narrow():
    table = stage_one_rows(GOLD, SILVER)
    assert isinstance(table, pa.Table)
    assert table.column("tier").to_pylist() == ["gold", "silver", "gold"]
    assert table.column("split").to_pylist() == ["train", "train", "validation"]
