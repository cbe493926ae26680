"""Revised data sets: what changes is written, the rest stays where it lies."""

import pyarrow as pa
import pytest

from synpref_dagster.storage import (
    make_ref,
    read_manifest,
    read_table,
    revise_dataset,
    write_dataset,
)


def numbers(*values):
    return pa.table({"n": pa.array(values, pa.int64())})


def revise(uri, base, changed, num_shards, step="s"):
    return revise_dataset(str(uri), base, changed, num_shards=num_shards, step=step)


def test_replaced_and_added_shards_stand_in_their_places(tmp_path):
    first = revise(tmp_path, None, [(1, numbers(2)), (0, numbers(1))], 2)
    second = revise(tmp_path, first, [(2, numbers(4)), (0, numbers(7, 8))], 3)
    assert read_table(first)["n"].to_pylist() == [1, 2]
    assert read_table(second)["n"].to_pylist() == [7, 8, 2, 4]


def test_a_revised_data_set_is_the_one_that_would_have_been_written_at_once(tmp_path):
    base = revise(tmp_path / "a", None, [(0, numbers(1)), (1, numbers(2))], 2)
    revised = revise(tmp_path / "a", base, [(1, numbers(3))], 2)
    written = write_dataset(str(tmp_path / "b"), [numbers(1), numbers(3)], step="s")
    assert revised.fingerprint == written.fingerprint


def test_only_what_changes_is_written(tmp_path):
    base = revise(tmp_path, None, [(n, numbers(n)) for n in range(5)], 5)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "shards").iterdir()}
    revise(tmp_path, base, [(2, numbers(9))], 5)
    after = {file: file.stat().st_mtime_ns for file in (tmp_path / "shards").iterdir()}
    assert after.items() >= before.items()
    assert len(after) == len(before) + 1


def test_a_smaller_state_leaves_the_last_shards_out(tmp_path):
    base = revise(tmp_path, None, [(n, numbers(n)) for n in range(3)], 3)
    assert read_table(revise(tmp_path, base, [], 2))["n"].to_pylist() == [0, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([(3, numbers(4))], r"1 of 4 shards .* the first of them number 2"),
        ([(2, pa.table({"m": [1]}))], "differ in their columns"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_published(tmp_path, changed, message):
    base = revise(tmp_path, None, [(0, numbers(1)), (1, numbers(2))], 2)
    with pytest.raises(ValueError, match=message):
        revise(tmp_path, base, changed, 4)
    assert make_ref(str(tmp_path), read_manifest(str(tmp_path))) == base


def test_a_base_that_lies_elsewhere_is_refused(tmp_path):
    base = revise(tmp_path / "a", None, [(0, numbers(1))], 1)
    with pytest.raises(ValueError, match="cannot be revised"):
        revise(tmp_path / "b", base, [], 1)
