"""Routed pairs are worked on apart: one more of them costs itself, not its shard."""

from pathlib import Path

import pyarrow as pa
import pytest

from synpref_dagster.pairs.record import id_array
from synpref_dagster.storage import make_ref, read_manifest, read_table, step_key, write_dataset
from synpref_dagster.storage.maps.apart import OWN, ROUTED, join_parts, map_apart


def ids(*numbers):
    return pa.table({"pair_id": id_array([bytes([n]) * 16 for n in numbers])})


def numbered(table):
    return [each[0] for each in table["pair_id"].combine_chunks().storage.to_pylist()]


def length_of(table, texts, *, seen):
    """A row per pair: its own number and how many texts lie beside; `seen` counts the calls."""
    with Path(seen).open("a") as file:
        file.write(f"{numbered(table)} {texts.num_rows}\n")
    return table.append_column("double", pa.array([2 * n for n in numbered(table)], pa.int64()))


def run(tmp_path, pools, routed):
    """What was worked on, and the outcome by pair."""
    seen = tmp_path / "seen"
    seen.write_text("")
    pool = write_dataset(str(tmp_path / "pool"), [ids(*each) for each in pools], step="1")
    named = write_dataset(str(tmp_path / "routed"), [ids(*each) for each in routed], step="1")
    texts = write_dataset(str(tmp_path / "texts"), [ids(*range(50))] * len(pools), step="1")
    found = map_apart(
        length_of,
        pool,
        named,
        uri=str(tmp_path / "out"),
        version="1",
        params={"seen": str(seen)},
        beside=[texts],
    )
    table = read_table(found.ref)
    return seen.read_text().splitlines(), numbered(table), table["double"].to_pylist(), found


def test_every_pair_has_its_row_in_the_order_of_the_pool(tmp_path):
    _, pairs, doubles, _ = run(tmp_path, [(3, 1, 2), (9, 8)], [(1,), ()])
    assert pairs == [3, 1, 2, 9, 8]
    assert doubles == [6, 2, 4, 18, 16]


def test_one_more_routed_pair_leaves_the_others_of_its_shard_alone(tmp_path):
    first, *_ = run(tmp_path, [(1, 2, 3), (7, 8)], [(1,), ()])
    assert sorted(first) == ["[1] 50", "[2, 3] 50", "[7, 8] 50", "[] 0"]
    again, pairs, _, found = run(tmp_path, [(1, 2, 3, 4), (7, 8, 9)], [(1,), (9,)])
    assert again == ["[2, 3, 4] 50", "[9] 50"]  # 4 is a person's pair, and new in its shard
    assert pairs == [1, 2, 3, 4, 7, 8, 9]
    assert found.counts() == {
        "num_shards_computed": 1,
        "num_shards_reused": 1,
        "num_routed_parts_computed": 1,
    }


def test_rows_put_in_their_places_are_found_by_the_parts_and_what_made_them(tmp_path):
    *_, found = run(tmp_path, [(1, 2)], [(1,)])
    pool = make_ref(str(tmp_path / "pool"), read_manifest(str(tmp_path / "pool")))
    inputs = [pool, found.parts[OWN].ref, found.parts[ROUTED].ref]
    assert read_manifest(found.ref).step == step_key(
        version="1", inputs=[ref.fingerprint for ref in inputs], params={"version": "1"}
    )


def test_a_pool_that_names_no_routed_pairs_is_worked_on_as_it_is(tmp_path):
    pool = write_dataset(str(tmp_path / "pool"), [ids(1)], step="1")
    seen = str(tmp_path / "seen")
    found = map_apart(
        length_of,
        pool,
        None,
        uri=str(tmp_path / "out"),
        version="1",
        params={"seen": seen},
        beside=[pool],
    )
    assert set(found.parts) == {OWN}
    assert read_table(found.ref)["double"].to_pylist() == [2]


def test_a_pair_without_a_row_is_an_error_and_never_left_out():
    with pytest.raises(ValueError, match="1 of 2 pairs have no row"):
        join_parts(ids(1, 2), ids(1), ids())
