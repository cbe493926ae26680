"""Looking rows up by id: every row of an id, ids by their first digits, whatever the shard."""

import pyarrow as pa
import pytest

from synpref_dagster.pairs.record import id_array
from synpref_dagster.storage import (
    dataset,
    find_rows,
    ids_with_prefix,
    lookup,
    lowest_ids,
    write_dataset,
)

FIRST, SECOND, THIRD = (bytes.fromhex(start.ljust(32, "0")) for start in ("aab1", "aab2", "ab00"))


def votes(ids, judges):
    return pa.table({"pair_id": id_array(ids), "judge": judges})


@pytest.fixture
def ref(tmp_path):
    shards = [votes([FIRST, SECOND, FIRST], ["a", "a", "b"]), votes([], pa.array([], pa.string()))]
    return write_dataset(
        str(tmp_path / "votes"), [*shards, votes([THIRD, FIRST], ["a", "c"])], step="s"
    )


def test_all_rows_of_an_id_are_found_over_all_shards(ref):
    assert find_rows(ref, [FIRST])["judge"].to_pylist() == ["a", "b", "c"]


def test_an_id_that_is_nowhere_gives_no_rows_but_the_columns(ref):
    found = find_rows(ref, [b"\0" * 16])
    assert (found.num_rows, found.column_names) == (0, ["pair_id", "judge"])


def test_rows_are_looked_up_by_other_columns_and_read_in_part(ref):
    found = find_rows(ref, ["c"], "judge", columns=["pair_id"])
    assert [each.bytes for each in found["pair_id"].to_pylist()] == [FIRST]
    assert found.column_names == ["pair_id"]


def test_shards_without_a_wanted_row_are_read_by_their_id_column_only(ref, monkeypatch):
    asked = []

    def read_shard(uri, shard, columns=None):
        asked.append(columns)
        return dataset.read_shard(uri, shard, columns)

    monkeypatch.setattr(lookup, "read_shard", read_shard)
    find_rows(ref, [SECOND])
    assert asked == [["pair_id"], None, ["pair_id"], ["pair_id"]]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("aab1", [FIRST]),
        ("aab", [FIRST, SECOND]),
        ("a", [FIRST, SECOND, THIRD]),
        (THIRD.hex(), [THIRD]),
        ("ac", []),
    ],
)
def test_ids_are_found_by_their_first_digits_each_once_in_order(ref, prefix, expected):
    assert ids_with_prefix(ref, prefix, limit=10) == expected


def test_no_more_ids_than_asked_for(ref):
    assert ids_with_prefix(ref, "a", limit=2) == [FIRST, SECOND]


@pytest.mark.parametrize("num", [0, 1, 7, 40, 100])
def test_the_lowest_ids_are_those_that_sorting_all_would_put_first(tmp_path, num):
    ids = [bytes([(37 * n) % 251, n]) + bytes(14) for n in range(40)]
    shards = [votes(part, ["a"] * len(part)) for part in (ids[:9], [], ids[9:10], ids[10:])]
    shards[1] = votes([], pa.array([], pa.string()))
    ref = write_dataset(str(tmp_path / "pool"), shards, step="s")
    assert lowest_ids(ref, num) == sorted(ids)[:num]
