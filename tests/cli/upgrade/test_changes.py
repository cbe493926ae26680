"""Copies are made before anything is changed, and hold what was written to the last moment."""

import sqlite3
from contextlib import closing

import pytest

from synpref_dagster.cli.upgrade.changes import copy_beside


def numbers(path):
    with closing(sqlite3.connect(path)) as connection:
        return [each for (each,) in connection.execute("SELECT n FROM t ORDER BY n")]


def test_a_database_is_copied_with_what_lies_in_its_log_beside_it(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (n)")
        writer.execute("INSERT INTO t VALUES (1)")
        (tmp_path / "a.db").chmod(0o600)
        copy = copy_beside(tmp_path / "a.db", stamp="now")
        writer.execute("INSERT INTO t VALUES (2)")
    assert copy == tmp_path / "a.db.before-now"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (numbers(copy), numbers(tmp_path / "a.db")) == ([1], [1, 2])


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%41b"])
def test_a_database_with_signs_of_addresses_in_its_path_is_copied_whole(tmp_path, name):
    (tmp_path / name).mkdir()
    with closing(sqlite3.connect(tmp_path / name / name)) as writer, writer:
        writer.execute("CREATE TABLE t (n)")
        writer.execute("INSERT INTO t VALUES (4)")
    assert numbers(copy_beside(tmp_path / name / name, stamp="now")) == [4]
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_folder_is_copied_with_databases_and_other_files(tmp_path):
    (tmp_path / "history" / "runs").mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "history" / "runs" / "b.db")) as writer, writer:
        writer.execute("CREATE TABLE t (n)")
        writer.execute("INSERT INTO t VALUES (3)")
    (tmp_path / "history" / "note.txt").write_text("mine")
    copy = copy_beside(tmp_path / "history", stamp="now")
    assert numbers(copy / "runs" / "b.db") == [3]
    assert (copy / "note.txt").read_text() == "mine"


def test_an_earlier_copy_is_never_written_over(tmp_path):
    (tmp_path / "a").write_text("new")
    (tmp_path / "a.before-now").write_text("old")
    with pytest.raises(FileExistsError, match="is there already"):
        copy_beside(tmp_path / "a", stamp="now")
    assert (tmp_path / "a.before-now").read_text() == "old"
