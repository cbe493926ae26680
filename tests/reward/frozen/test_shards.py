import numpy as np

from synpref_dagster.pairs.record import pairs_to_table
from synpref_dagster.reward.frozen.shards import read_shard
from synpref_dagster.reward.frozen.store import FeatureStore, response_keys


def test_a_shard_names_the_features_of_both_sides_and_the_store_has_them(reader_of, home, pairs):
    reader, some = reader_of(), pairs[:10]
    table = pairs_to_table(some)
    read = read_shard(table.select(["pair_id"]), table, reading=reader.reading, home=home)
    conversations = [pair.conversation for pair in some]
    chosen = response_keys(conversations, [pair.chosen for pair in some])
    assert read.column("chosen_key").to_pylist() == chosen
    assert read.column("pair_id").combine_chunks().storage.to_pylist() == [
        pair.pair_id for pair in some
    ]
    store = FeatureStore(home / "features" / reader.reading.name, num_features=4 * 32)
    expected = reader.features(conversations, [pair.chosen for pair in some])
    assert np.array_equal(store.knows(chosen), [True] * 10)
    assert np.array_equal(store.find(chosen), expected)
