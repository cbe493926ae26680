import numpy as np
import pytest

from synpref_dagster.reward.attention.batching import common_prefix, pack_units, tree_tokens
from synpref_dagster.reward.attention.forward import pack_sequences


def ids(*numbers):
    return np.array(numbers, dtype=np.int64)


def test_the_common_prefix_leaves_each_sequence_a_token():
    assert common_prefix([ids(1, 2, 3, 4), ids(1, 2, 9)]) == 2
    assert common_prefix([ids(1, 2, 3), ids(1, 2)]) == 1
    assert common_prefix([ids(1), ids(1)]) == 0
    assert common_prefix([ids(5, 2), ids(1, 2)]) == 0
    assert common_prefix([ids(1, 2, 3)]) == 0


def test_a_pair_is_laid_out_with_its_prefix_once():
    pack = pack_units([(0, 1)], [ids(1, 2, 3, 4), ids(1, 2, 5)], keys=["x"], tokens_per_pack=100)[0]
    assert pack.input_ids.tolist() == [1, 2, 3, 4, 5]
    assert pack.position_ids.tolist() == [0, 1, 2, 3, 2]
    assert pack.scored.tolist() == [3, 4]
    assert [(s.start, s.stop, s.prefix_start, s.prefix_stop) for s in pack.segments] == [
        (0, 4, 0, 0),
        (4, 5, 0, 2),
    ]
    assert pack.scored_mask.int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 1]]


def test_segments_that_share_a_prefix_see_it_in_one_block():
    sequences = [ids(1, 2, 3), ids(1, 2, 4), ids(1, 2, 5, 6)]
    pack = pack_units([(0,), (1,), (2,)], sequences, keys=[0, 0, 0], tokens_per_pack=100)[0]
    prefix = pack.blocks[3:]
    assert [(b.query_start, b.query_stop, b.key_start, b.key_stop) for b in prefix] == [
        (3, 6, 0, 2)
    ]


def test_equal_sequences_are_forwarded_once():
    sequences = [ids(1, 2, 3), ids(1, 2, 4), ids(1, 2, 3), ids(1, 2, 5)]
    pack = pack_units([(0, 1), (2, 3)], sequences, keys=["x", "x"], tokens_per_pack=100)[0]
    assert pack.num_tokens == 5
    assert pack.row_of[0] == pack.row_of[2]


@pytest.mark.parametrize("budget", [40, 100, 400, 10_000])
def test_packs_hold_every_unit_once_and_give_the_sequences_back(budget, random_units):
    units, sequences, keys = random_units
    packs = pack_units(units, sequences, keys=keys, tokens_per_pack=budget)
    assert sorted(unit for pack in packs for unit in pack.units) == list(range(len(units)))
    for pack in packs:
        rebuilt = pack_sequences(pack)
        for unit in pack.units:
            for sequence in units[unit]:
                assert rebuilt[pack.row_of[sequence]].tolist() == sequences[sequence].tolist()
        assert pack.num_tokens <= budget or len(pack.units) == 1


def test_tokens_are_the_tree_minimum_when_the_budget_splits_no_group(random_units):
    units, sequences, keys = random_units
    packs = pack_units(units, sequences, keys=keys, tokens_per_pack=400)
    sequence_keys = [key for key in keys for _ in (0, 1)]
    least = tree_tokens(sequences, keys=sequence_keys)
    assert sum(pack.num_tokens for pack in packs) == least
    assert len(packs) <= 1.2 * -(-least // 400)


def test_a_conversation_stays_together_beyond_the_budget_where_it_is_said_how_far(random_units):
    units, sequences, keys = random_units
    about = {"keys": keys, "tokens_per_pack": 20}
    packs = pack_units(units, sequences, tokens_together=500, **about)
    least = tree_tokens(sequences, keys=[keys[n] for n, unit in enumerate(units) for _ in unit])
    assert sum(pack.num_tokens for pack in packs) == least
    assert len(packs) == len(set(keys))


def test_packing_is_the_same_every_time(random_units):
    units, sequences, keys = random_units
    one, two = (pack_units(units, sequences, keys=keys, tokens_per_pack=100) for _ in range(2))
    assert [pack.units for pack in one] == [pack.units for pack in two]
