"""The split between the stages, shard by shard: what it remembers, and what it does again."""

import pyarrow as pa

from synpref_dagster.curation.pool import routing_shards
from synpref_dagster.curation.pool.marks import CONTRADICTION
from synpref_dagster.curation.pool.routing_shards import route_pairs
from synpref_dagster.curation.pool.selection import CLEAN_SCHEMA
from synpref_dagster.curation.pool.shards import pairs_by_shard
from synpref_dagster.pairs.record import id_array
from synpref_dagster.storage import iter_tables, read_frame, write_dataset


def identity(number):
    return bytes([number]) * 16


def shard(*rows):
    """(number of the pair, origin, risk) per pair; a pair and the next number are twins."""
    numbers, origins, risks = zip(*rows, strict=True)
    contents = [id_array([identity(n - n % 2) for n in numbers])] * 2
    columns = [
        id_array([identity(n) for n in numbers]),
        *contents,
        ["s"] * len(rows),
        origins,
        [bool(risk) for risk in risks],
        risks,
    ]
    return pa.Table.from_arrays(
        [
            column if isinstance(column, pa.Array) else pa.array(list(column), field.type)
            for column, field in zip(columns, CLEAN_SCHEMA, strict=True)
        ],
        schema=CLEAN_SCHEMA,
    )


def risky(number):
    return (number, "synthetic", CONTRADICTION)


PEOPLE = shard(*((number, "human", "") for number in range(100, 104)))
TWINS = shard(risky(10), risky(11), (12, "synthetic", ""))
LATE = shard(risky(2), risky(3))


def route(tmp_path, *shards, share=0.5, barred=(), stage_one=None):
    clean = write_dataset(str(tmp_path / "clean"), list(shards), step=str(len(shards)))
    named = pairs_by_shard(clean, {identity(n) for n in barred}, uri=str(tmp_path / "barred"))
    routed = route_pairs(
        clean,
        uri=str(tmp_path / "routing"),
        max_share=share,
        barred=[named],
        stage_one=stage_one,
    )
    return [sorted(each[0] for each in read_ids(table)) for table in iter_tables(routed)]


def read_ids(table):
    return table["pair_id"].combine_chunks().storage.to_pylist()


def test_routed_pairs_lie_in_the_shards_of_their_pairs(tmp_path):
    assert route(tmp_path, PEOPLE, TWINS) == [[], [10, 11]]


def test_who_was_routed_stays_when_others_arrive_that_would_come_first(tmp_path):
    assert route(tmp_path, PEOPLE, TWINS, LATE) == [[], [], [2, 3]]  # by id, when all come at once
    other = tmp_path / "other"
    assert route(other, PEOPLE, TWINS) == [[], [10, 11]]
    assert route(other, PEOPLE, TWINS, LATE) == [[], [10, 11], []]
    assert route(other, PEOPLE, TWINS, LATE, share=1.0) == [[], [10, 11], [2, 3]]


def test_who_was_routed_stays_when_the_risk_is_gone_and_takes_its_room(tmp_path):
    route(tmp_path, PEOPLE, TWINS)
    calm = shard((10, "synthetic", ""), (12, "synthetic", ""))  # the twin left the pool
    assert route(tmp_path, PEOPLE, calm, LATE) == [[], [10], []]
    assert route(tmp_path, PEOPLE, calm, LATE, share=0.8) == [[], [10], [2, 3]]


def test_who_was_routed_goes_when_barred_or_labelled_by_a_person(tmp_path):
    route(tmp_path, PEOPLE, TWINS)
    assert route(tmp_path, PEOPLE, TWINS, barred=[10]) == [[], [11]]
    labelled = shard((11, "human", ""), (12, "synthetic", ""))
    assert route(tmp_path, PEOPLE, labelled) == [[], []]


def test_barred_pairs_are_those_of_each_shard(tmp_path):
    clean = write_dataset(str(tmp_path / "clean"), [PEOPLE, TWINS], step="1")
    ids = {identity(12), identity(101), identity(7)}
    found = pairs_by_shard(clean, ids, uri=str(tmp_path / "barred"))
    assert [len(table) for table in iter_tables(found)] == [1, 1]
    assert read_frame(found)["pair_id"].tolist() == [identity(101), identity(12)]


def test_a_pool_that_goes_back_forgets_nobody(tmp_path):
    calm = shard((10, "synthetic", ""), (12, "synthetic", ""))
    assert route(tmp_path, PEOPLE, calm) == [[], []]
    assert route(tmp_path, PEOPLE, calm, shard(risky(10), risky(11))) == [[], [], [10, 11]]
    assert route(tmp_path, PEOPLE, calm) == [[], [10]]  # its twin's source was taken out again


def test_routing_twice_gives_the_same_and_works_once(tmp_path, monkeypatch):
    first = route(tmp_path, PEOPLE, TWINS)

    def never(*_args, **_kwargs):
        raise AssertionError("routed again")

    monkeypatch.setattr(routing_shards, "routed_to_stage_one", never)
    assert route(tmp_path, PEOPLE, TWINS) == first


def test_a_pair_of_people_stays_when_the_copy_of_another_source_is_kept_instead(tmp_path):
    former = write_dataset(str(tmp_path / "former"), [PEOPLE], step="f")
    moved = shard((100, "human", ""), (101, "synthetic", ""), (104, "synthetic", ""))
    assert route(tmp_path, moved, stage_one=former) == [[101]]
    assert route(tmp_path, moved, TWINS, share=0.0, stage_one=former) == [[101], []]
    assert route(tmp_path / "new", moved) == [[]]
    assert route(tmp_path / "barred", moved, barred=[101], stage_one=former) == [[]]
