"""Data sets: equal tables give equal bytes, ids keep their type, nothing torn is read."""

import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.pairs.record import PAIR_SCHEMA, PreferencePair, id_array, pairs_to_table
from synpref_dagster.storage import (
    build_dataset,
    iter_tables,
    read_frame,
    read_manifest,
    read_table,
    select_rows,
    shard_uris,
    verify,
    write_dataset,
)
from synpref_dagster.storage.dataset import MAX_SHARD_ROWS

PAIRS = [
    PreferencePair(
        conversation=({"role": "user", "content": f"question {n}"},),
        chosen=f"good {n}",
        rejected=f"bad {n}",
        source="hand",
        origin="human",
        meta={"n": n},
    )
    for n in range(6)
]
TABLE = pairs_to_table(PAIRS)


def halves():
    yield TABLE.slice(0, 4)
    yield TABLE.slice(4)


@pytest.fixture
def ref(tmp_path):
    return write_dataset(str(tmp_path / "pairs"), halves(), step="s1")


def shard_files(tmp_path):
    return sorted((tmp_path / "pairs" / "shards").iterdir())


def test_pairs_come_back_equal_with_ids_as_uuid(ref):
    table = read_table(ref)
    assert table.equals(TABLE)
    assert table.schema.field("pair_id").type == pa.uuid()
    assert ref.num_rows == 6


def test_ids_are_stored_as_fixed_length_uuids(ref):
    column = pq.ParquetFile(shard_uris(ref)[0]).schema.column(0)
    assert (column.physical_type, str(column.logical_type)) == ("FIXED_LEN_BYTE_ARRAY", "UUID")


def test_a_frame_has_ids_as_bytes(ref):
    frame = read_frame(ref, ["pair_id", "chosen"])
    assert frame["pair_id"].tolist() == [pair.pair_id for pair in PAIRS]
    assert list(frame.columns) == ["pair_id", "chosen"]


def test_a_frame_has_ids_in_lists_as_bytes(tmp_path):
    ids = id_array([PAIRS[0].pair_id, PAIRS[1].pair_id])
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 2], pa.int32()), ids)
    stored = write_dataset(str(tmp_path), pa.table({"exemplars": lists}), step="s1")
    assert [list(row) for row in read_frame(stored)["exemplars"]] == [
        [PAIRS[0].pair_id, PAIRS[1].pair_id],
        [],
    ]


def test_writing_what_was_read_gives_the_same_fingerprint(ref, tmp_path):
    again = write_dataset(str(tmp_path / "copy"), iter_tables(ref), step="other")
    assert again.fingerprint == ref.fingerprint


def test_chunks_and_metadata_do_not_change_the_bytes(tmp_path):
    chunked = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]).replace_schema_metadata(
        {"pandas": "notes"}
    )
    one = write_dataset(str(tmp_path / "one"), TABLE, step="s1")
    two = write_dataset(str(tmp_path / "two"), chunked, step="s1")
    assert one.fingerprint == two.fingerprint


def test_a_long_table_is_cut_and_given_ones_are_a_shard_each(tmp_path):
    long = pa.table({"a": pa.array(range(MAX_SHARD_ROWS + 1))})

    def shard_rows(tables):
        stored = write_dataset(str(tmp_path), tables, step="s1")
        return [shard.num_rows for shard in read_manifest(stored).shards]

    assert shard_rows(long) == [MAX_SHARD_ROWS, 1]
    assert shard_rows([long, long.slice(0, 5)]) == [MAX_SHARD_ROWS + 1, 5]


def test_an_empty_data_set_keeps_its_schema(tmp_path):
    stored = write_dataset(str(tmp_path), PAIR_SCHEMA.empty_table(), step="s1")
    assert stored.num_rows == 0
    assert read_table(stored).schema.equals(PAIR_SCHEMA)
    assert read_frame(stored).columns.tolist() == PAIR_SCHEMA.names


def test_no_table_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nothing to write"):
        write_dataset(str(tmp_path), [], step="s1")


def test_tables_of_different_schemas_are_refused_by_column(tmp_path):
    with pytest.raises(ValueError, match="'a: double', 'a: int64'"):
        write_dataset(str(tmp_path), [pa.table({"a": [1]}), pa.table({"a": [1.0]})], step="s1")


def test_meta_that_is_no_json_is_refused_before_the_work(tmp_path):
    def compute():
        yield TABLE
        raise AssertionError("the work was done")

    with pytest.raises(TypeError, match="not JSON serializable"):
        write_dataset(str(tmp_path), compute(), step="s1", meta={"x": object()})


def test_a_finished_step_is_not_computed_again(ref, tmp_path):
    def compute():
        raise AssertionError("computed again")

    assert build_dataset(ref.uri, step="s1", compute=compute) == ref


def test_a_torn_shard_is_computed_again(ref, tmp_path):
    torn = shard_files(tmp_path)[0]
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged at rest"):
        read_table(ref)
    assert build_dataset(ref.uri, step="s1", compute=halves) == ref
    verify(ref)


def test_a_missing_shard_is_computed_again(ref, tmp_path):
    shard_files(tmp_path)[1].unlink()
    assert build_dataset(ref.uri, step="s1", compute=halves) == ref
    assert read_table(ref).equals(TABLE)


def test_verify_finds_a_single_changed_byte(ref, tmp_path):
    verify(ref)
    damaged = shard_files(tmp_path)[0]
    content = bytearray(damaged.read_bytes())
    content[20] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=f"shard {damaged.name} of .* is damaged"):
        verify(ref)


def test_no_temporary_file_is_left(ref, tmp_path):
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []


def test_rows_are_selected_in_the_order_of_the_data_set(ref):
    wanted = {PAIRS[5].pair_id, PAIRS[1].pair_id, b"no such id at al"}
    table = select_rows(ref, wanted)
    assert table["pair_id"].to_pylist() == [
        uuid.UUID(bytes=PAIRS[1].pair_id),
        uuid.UUID(bytes=PAIRS[5].pair_id),
    ]
    assert table.schema.equals(PAIR_SCHEMA)


@pytest.mark.parametrize("as_chunks", [False, True])
def test_rows_are_selected_by_an_arrow_array_of_ids(ref, as_chunks):
    column = TABLE["pair_id"].slice(2, 3)
    assert select_rows(ref, column if as_chunks else column.combine_chunks()).equals(
        TABLE.slice(2, 3)
    )


def test_the_first_row_of_a_repeated_id_is_selected(tmp_path):
    ids = id_array([b"a" * 16, b"b" * 16, b"a" * 16])
    table = pa.table({"pair_id": ids, "row": [0, 1, 2]})
    stored = write_dataset(str(tmp_path), [table, table], step="s1")
    assert select_rows(stored, [b"a" * 16])["row"].to_pylist() == [0]


def test_selecting_nothing_keeps_the_schema(ref):
    assert select_rows(ref, []).schema.equals(PAIR_SCHEMA)
    assert select_rows(ref, []).num_rows == 0


def test_selecting_from_an_empty_data_set_finds_nothing(tmp_path):
    empty = write_dataset(str(tmp_path), PAIR_SCHEMA.empty_table(), step="s1")
    assert select_rows(empty, [PAIRS[0].pair_id]).num_rows == 0


def test_an_unknown_column_is_named(ref):
    with pytest.raises(ValueError, match=r"no columns \['reward'\]"):
        read_table(ref, ["reward"])


def test_columns_come_in_the_order_asked_for(ref):
    assert read_table(ref, ["source", "chosen"]).schema.names == ["source", "chosen"]


IDS = st.binary(min_size=16, max_size=16)
ROWS = st.lists(st.tuples(IDS, st.none() | st.text()), max_size=20)


@settings(max_examples=40, deadline=None)
@given(
    shards=st.lists(ROWS, min_size=1, max_size=4), extra=st.sets(IDS, max_size=3), data=st.data()
)
def test_any_rows_come_back_and_any_of_them_are_selected(shards, extra, data):
    tables = [
        pa.table(
            {
                "pair_id": id_array([i for i, _ in rows]),
                "t": pa.array([t for _, t in rows], pa.string()),
            }
        )
        for rows in shards
    ]
    all_rows = [row for rows in shards for row in rows]
    known = sorted({i for i, _ in all_rows})
    wanted = extra | (data.draw(st.sets(st.sampled_from(known))) if known else set())
    first = {}
    for pair_id, text in all_rows:
        if pair_id in wanted:
            first.setdefault(pair_id, text)
    with tempfile.TemporaryDirectory() as folder:
        ref = write_dataset(folder, tables, step="s1")
        frame = read_frame(ref)
        selected = select_rows(ref, wanted)
    assert ref.num_rows == len(all_rows)
    assert frame["pair_id"].tolist() == [pair_id for pair_id, _ in all_rows]
    assert [row["pair_id"].bytes for row in selected.to_pylist()] == list(first)
    assert selected["t"].to_pylist() == list(first.values())


def test_writers_of_one_folder_at_the_same_time_all_end_well(tmp_path):
    def write(number):
        return write_dataset(
            str(tmp_path), pa.table({"a": [number % 2]}), step=f"s{number}", meta={"n": number}
        )

    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(write, range(40)))
    assert {ref.fingerprint for ref in refs} == {refs[0].fingerprint, refs[1].fingerprint}
    assert [read_table(ref)["a"].to_pylist() for ref in refs[:2]] == [[0], [1]]
    assert read_manifest(str(tmp_path)).fingerprint in {refs[0].fingerprint, refs[1].fingerprint}
    assert list(tmp_path.rglob("*.tmp")) == []
