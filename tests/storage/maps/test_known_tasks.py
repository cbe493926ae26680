"""Markers of a whole map in one file: it saves reading them one by one, and is never needed."""

import pyarrow as pa
import pytest

from synpref_dagster.storage import map_shards, read_table, write_dataset
from synpref_dagster.storage.maps import tasks


def doubled(table):
    return pa.table({"n": pa.array([2 * n for n in table["n"].to_pylist()], pa.int64())})


def numbers(*values):
    return pa.table({"n": pa.array(values, pa.int64())})


def run(tmp_path, *shards):
    pool = write_dataset(
        str(tmp_path / "in"), [numbers(*each) for each in shards], step=f"{len(shards)}"
    )
    return map_shards(doubled, pool, uri=str(tmp_path / "out"), version="1", params={})


@pytest.fixture
def reads(monkeypatch):
    """Names of the markers that are read one by one."""
    seen = []
    original = tasks.read_bytes

    def read(path):
        seen.append(path.name)
        return original(path)

    monkeypatch.setattr(tasks, "read_bytes", read)
    return seen


def test_a_night_reads_one_file_for_all_known_shards(tmp_path, reads):
    run(tmp_path, (1,), (2,), (3,))
    reads.clear()
    grown = run(tmp_path, (1,), (2,), (3,), (4, 5))
    assert reads == []
    assert (grown.num_shards_computed, grown.num_shards_reused) == (1, 3)
    assert read_table(grown.ref)["n"].to_pylist() == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"tasks": {"a": 1}, "schemas": {}}', None])
def test_without_the_file_or_with_a_torn_one_the_markers_are_read(tmp_path, text, reads):
    run(tmp_path, (1,), (2,))
    file = tmp_path / "out" / "known_tasks.json"
    file.unlink() if text is None else file.write_bytes(text)
    grown = run(tmp_path, (1,), (2,), (3,))
    assert len(reads) == 2
    assert (grown.num_shards_computed, grown.num_shards_reused) == (1, 2)


def test_a_shard_that_was_lost_is_made_again_whatever_the_file_says(tmp_path):
    first = run(tmp_path, (1,), (2,))
    for file in (tmp_path / "out" / "shards").iterdir():
        file.unlink()
    again = run(tmp_path, (1,), (2,))
    assert again.num_shards_computed == 2
    assert again.ref == first.ref
