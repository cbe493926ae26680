"""The sample that judges look at: the same whatever the shards are, and no pair leaves it."""

from hashlib import blake2b

import pyarrow as pa

from synpref_dagster.curation.personal_data.sample import nearest_unflagged, sampled_by_shard
from synpref_dagster.pairs.record import id_array


def ids(*numbers):
    """Hashes, every third of which ends in a zero byte."""
    found = [blake2b(b"%d" % number, digest_size=16).digest() for number in numbers]
    return [each if n % 3 else each[:15] + b"\0" for n, each in zip(numbers, found, strict=True)]


def shard(*numbers):
    return pa.table({"pair_id": id_array(ids(*numbers))})


def nearest(*parts, flagged=(), num_sampled=20, seed=1):
    """Of shards given by numbers; flagged ones stand in the shard that they are of."""
    shards = [
        (shard(*part), shard(*(number for number in part if number in flagged))) for part in parts
    ]
    return nearest_unflagged(shards, num_sampled=num_sampled, seed=seed)


def test_the_sample_is_the_same_however_the_pool_is_cut_and_holds_no_flagged_pair():
    whole = nearest(range(200), flagged=range(5))
    assert len(set(whole)) == 20
    assert not set(whole) & set(ids(*range(5)))
    pieces = [range(start, start + 10) for start in range(0, 200, 10)]
    assert nearest(*pieces, flagged=range(5)) == whole
    assert nearest(*pieces[::-1], range(30), flagged=range(5)) == whole
    assert set(nearest(range(200), flagged=range(5), seed=2)) != set(whole)


def test_a_pair_with_a_finding_leaves_its_place_in_the_sample_to_the_next():
    nearest_25 = nearest(range(200), num_sampled=25)
    number_of = {each: number for number, each in enumerate(ids(*range(200)))}
    flagged = [number_of[each] for each in nearest_25[:5]]
    assert nearest(range(200), flagged=flagged) == nearest_25[5:]


def test_a_larger_sample_holds_the_smaller_one():
    assert nearest(range(200), num_sampled=50)[:20] == nearest(range(200), num_sampled=20)


def test_a_sample_larger_than_the_pool_is_the_pool():
    assert set(nearest(range(3), [], num_sampled=10)) == set(ids(*range(3)))
    assert nearest(range(3), num_sampled=0) == []
    assert nearest([]) == []


def test_a_pool_that_grows_brings_nearer_pairs_of_its_new_part_only():
    before, after = nearest(range(100)), nearest(range(100), range(100, 200))
    assert set(after) - set(before) <= set(ids(*range(100, 200)))
    assert set(before) - set(after)  # these would be lost if nobody remembered them


def test_sampled_pairs_stand_in_the_first_shard_that_has_them_and_each_once():
    shards = [shard(1, 2, 2), shard(), shard(2, 3), shard(4)]
    found = list(sampled_by_shard(shards, ids(2, 3, 99)))
    assert [each["pair_id"].combine_chunks() for each in found] == [
        id_array(ids(*numbers)) for numbers in ([2], [], [3], [])
    ]
