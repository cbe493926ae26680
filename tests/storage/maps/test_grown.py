"""A shard that gains rows is not worked on again: what came since is, and nothing else."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.pairs.record import id_array
from synpref_dagster.storage import map_shards, read_manifest, read_table, write_dataset
from synpref_dagster.storage.maps.grown import map_grown


def ids(*numbers):
    return pa.table({"pair_id": id_array([bytes([n]) * 16 for n in numbers])})


def numbered(table):
    return [each[0] for each in table["pair_id"].combine_chunks().storage.to_pylist()]


class World:
    """Shards of texts by name, each with what is wanted of it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.worked_on = []

    def double(self, table, texts):
        numbers = numbered(table)
        self.worked_on.append(numbers)
        assert set(numbers) <= set(numbered(texts)) or not texts.num_rows
        return table.append_column("double", pa.array([2 * n for n in numbers], pa.int64()))

    def inputs(self, wanted, texts):
        write = [[ids(*each) for each in tables] for tables in (wanted, texts)]
        return [
            write_dataset(str(self.folder / name), tables, step="1")
            for name, tables in zip(("ids", "texts"), write, strict=True)
        ]

    def night(self, wanted, texts, model="m"):
        self.worked_on.clear()
        found = map_grown(
            self.double, *self.inputs(wanted, texts), uri=str(self.folder / "out"), version="1",
            identified_by={"model": model}, meta={"pool": "p"},
        )  # fmt: skip
        assert read_manifest(found.ref).meta == {"pool": "p"}
        return [each for each in self.worked_on if each], found

    def outcome(self, found):
        table = read_table(found.ref)
        assert table["double"].to_pylist() == [2 * n for n in numbered(table)]
        return numbered(table)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


A, B, C = (1, 2, 3, 4), (11, 12, 13), (21, 22)


def test_the_first_night_works_on_every_shard_as_a_plain_map_would(world, tmp_path):
    worked_on, found = world.night([(1, 3), B], [A, B])
    assert worked_on == [[1, 3], [11, 12, 13]]
    assert found.counts() == {"num_shards_computed": 2, "num_shards_reused": 0}
    plain = map_shards(
        world.double, found_ids(world, [(1, 3), B]), beside=[found_texts(world, [A, B])],
        uri=str(tmp_path / "out"), version="1", identified_by={"model": "m"},
    )  # fmt: skip
    # Stores of before find their tasks again, and the other way round.
    assert plain.num_shards_computed == 0
    assert plain.ref == found.ref


def found_ids(world, wanted):
    return world.inputs(wanted, wanted)[0]


def found_texts(world, texts):
    return world.inputs(texts, texts)[1]


def test_rows_that_a_shard_gains_cost_themselves_and_rows_that_it_loses_nothing(world):
    world.night([(1, 3), B], [A, B])
    worked_on, found = world.night([(1, 2, 3), (11, 13)], [A, B])
    assert worked_on == [[2]]
    assert world.outcome(found) == [1, 2, 3, 11, 13]
    assert found.counts() == {
        "num_shards_computed": 0,
        "num_shards_reused": 2,
        "num_grown_parts_computed": 2,  # one of them empty
    }


def test_a_shard_is_known_wherever_it_stands_and_a_new_one_is_its_own_base(world):
    world.night([(1, 3), B], [A, B])
    worked_on, found = world.night([(12,), C, (1, 3, 4)], [B, C, A])
    assert sorted(worked_on) == [[4], [21, 22]]
    assert world.outcome(found) == [12, 21, 22, 1, 3, 4]


def test_the_same_night_again_works_on_nothing(world):
    for _ in range(2):
        world.night([(1, 3), B], [A, B])
        world.night([(1, 2), B], [A, B])
    worked_on, found = world.night([(1, 2), B], [A, B])
    assert worked_on == []
    assert world.outcome(found) == [1, 2, 11, 12, 13]


def test_other_work_begins_with_a_base_of_its_own(world):
    world.night([(1, 3), B], [A, B])
    worked_on, _ = world.night([(1, 2), B], [A, B], model="other")
    assert worked_on == [[1, 2], [11, 12, 13]]


def test_shards_of_equal_texts_are_told_apart(world):
    world.night([(1, 3), ()], [A, A])
    worked_on, found = world.night([(1, 3), (), (2,)], [A, A, A])
    assert worked_on == [[2]]
    assert world.outcome(found) == [1, 3, 2]


def test_a_base_that_was_lost_is_made_again(world, tmp_path):
    world.night([(1, 3), B], [A, B])
    for shards in (tmp_path / "out" / "base").glob("*/shards"):
        shutil.rmtree(shards)
    worked_on, found = world.night([(1, 2, 3), B], [A, B])
    assert worked_on == [[1, 2, 3]]
    assert world.outcome(found) == [1, 2, 3, 11, 12, 13]


NIGHTS = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 5))), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


@given(NIGHTS)
@settings(max_examples=15, deadline=None)
def test_whatever_nights_came_before_the_outcome_is_that_of_a_plain_map(tmp_path_factory, nights):
    world = World(tmp_path_factory.mktemp("nights"))
    for night in nights:
        texts = [tuple(range(10 * n + 1, 10 * n + 7)) for n, _ in night]
        wanted = [tuple(10 * n + 1 + row for row in sorted(rows)) for n, rows in night]
        _, found = world.night(wanted, texts)
        assert world.outcome(found) == [n for each in wanted for n in each]
        assert len(read_manifest(found.ref).shards) == len(wanted)
