"""Hashes of source files that outlive the night, and when they are not believed."""

import os

import pytest

from synpref_dagster.sources.files import content_hashes
from synpref_dagster.sources.files.content_hashes import ContentHashes
from synpref_dagster.storage.damage import file_hash

HOUR_NS = 3600 * 10**9


@pytest.fixture
def file(tmp_path):
    """A file that has been still for an hour."""
    path = tmp_path / "a.jsonl"
    path.write_text("one")
    age(path, HOUR_NS)
    return path


@pytest.fixture
def table(tmp_path, file):
    """The table after a first night."""
    path = tmp_path / "store" / "content_hashes.json"
    hashes = ContentHashes(str(path))
    hashes.digest(file)
    hashes.save([str(file)])
    return path


@pytest.fixture
def count(monkeypatch):
    """Calls of the hash function."""
    calls = []
    monkeypatch.setattr(
        content_hashes, "file_hash", lambda path: calls.append(path) or file_hash(path)
    )
    return calls


def age(path, by_ns):
    then = path.stat().st_mtime_ns - by_ns
    os.utime(path, ns=(then, then))


def test_an_unchanged_file_is_not_hashed_again(table, file, count):
    assert ContentHashes(str(table)).digest(file) == file_hash(file)
    assert count == []


@pytest.mark.parametrize("text", ["two", "longer"])
def test_a_file_of_another_time_or_size_is_hashed_again(table, file, count, text):
    file.write_text(text)
    assert ContentHashes(str(table)).digest(file) == file_hash(file)
    assert len(count) == 1


def test_a_file_that_changed_a_moment_ago_is_not_remembered(table, file, count):
    file.write_text("two")
    fresh = file.stat().st_mtime_ns
    hashes = ContentHashes(str(table))
    first = hashes.digest(file)
    file.write_text("six")
    os.utime(file, ns=(fresh, fresh))  # Two changes within one tick of the clock.
    assert hashes.digest(file) != first
    hashes.save([str(file)])
    assert ContentHashes(str(table)).digest(file) == file_hash(file)
    assert len(count) == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"[{", b"\xff", b"7", b'["a"]', b'[{"path": "a.jsonl", "size": "3"}]', None],
)
def test_a_bad_or_missing_table_costs_hashing_and_is_written_anew(table, file, count, content):
    if content is None:
        table.unlink()
    else:
        table.write_bytes(content)
    hashes = ContentHashes(str(table))
    assert hashes.digest(file) == file_hash(file)
    hashes.save([str(file)])
    assert ContentHashes(str(table)).digest(file) == file_hash(file)
    assert len(count) == 1


def test_files_that_are_no_longer_read_leave_the_table(table, file, tmp_path):
    other = tmp_path / "b.jsonl"
    other.write_text("two")
    age(other, HOUR_NS)
    hashes = ContentHashes(str(table))
    hashes.digest(other)
    hashes.save([str(other)])
    assert str(other) in table.read_text()
    assert str(file) not in table.read_text()
