"""Whom stage 2 asks about in one shard: pairs of doubtful label that nobody labelled."""

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.filtering.content_labels import LABELLED_SCHEMA, ContentLabels
from synpref_dagster.curation.filtering.relabelling import ASKED_SCHEMA, pairs_to_relabel
from synpref_dagster.pairs.record import id_array


def an_id(number, kind=b"p"):
    return kind + number.to_bytes(13, "big") + b"\x00\x00"


def numbers_of(table, column="pair_id"):
    return [int.from_bytes(each.bytes[1:14], "big") for each in table[column].to_pylist()]


def pool_of(*rows):
    """(pair, content) numbers."""
    columns = [id_array([an_id(p) for p, _ in rows]), id_array([an_id(c, b"c") for _, c in rows])]
    return pa.Table.from_arrays(columns, schema=ASKED_SCHEMA)


def rewards_of(**margins):
    ids = id_array([an_id(int(name[1:])) for name in margins])
    return pa.table({"pair_id": ids, "best_margin": pa.array(margins.values(), pa.float32())})


def known(*contents):
    ids = id_array([an_id(number, b"c") for number in contents])
    labels = pa.array([0] * len(contents), pa.int8())
    return ContentLabels.from_table(pa.Table.from_arrays([ids, ids, labels], LABELLED_SCHEMA.names))


def test_judges_are_asked_where_the_best_model_disagrees_is_undecided_or_has_no_reward():
    pool = pool_of((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6))
    rewards = rewards_of(p1=1.0, p2=-1.0, p3=0.0, p4=np.nan, p5=-1.0)
    asked = pairs_to_relabel(pool, rewards, labelled=known(5), unsure_band=0.0)
    assert numbers_of(asked) == [2, 3, 4, 6]
    assert numbers_of(asked, "content_id") == [2, 3, 4, 6]


def test_a_reward_belongs_to_its_pair_wherever_it_stands():
    rewards = rewards_of(p9=-5.0, p2=3.0, p1=-1.0)
    asked = pairs_to_relabel(pool_of((1, 1), (2, 2)), rewards, labelled=known(), unsure_band=0.0)
    assert numbers_of(asked) == [1]


def test_without_any_reward_every_pair_is_asked_about():
    asked = pairs_to_relabel(pool_of((1, 1)), rewards_of(), labelled=known(), unsure_band=0.0)
    assert numbers_of(asked) == [1]


def test_a_band_asks_about_unsure_pairs_too():
    pool, rewards = pool_of((1, 1), (2, 2)), rewards_of(p1=0.3, p2=3.0)
    assert not pairs_to_relabel(pool, rewards, labelled=known(), unsure_band=0.0).num_rows
    asked = pairs_to_relabel(pool, rewards, labelled=known(), unsure_band=0.1)
    assert numbers_of(asked) == [1]


def test_of_two_twins_in_a_shard_one_is_asked():
    pool, rewards = pool_of((1, 1), (2, 1)), rewards_of(p1=-1.0, p2=-2.0)
    assert numbers_of(pairs_to_relabel(pool, rewards, labelled=known(), unsure_band=0.0)) == [1]


def test_an_empty_pool_asks_about_nobody():
    asked = pairs_to_relabel(pool_of(), rewards_of(), labelled=known(), unsure_band=0.0)
    assert asked.num_rows == 0
