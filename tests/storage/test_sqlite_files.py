"""A damaged SQLite file is refused by name before anybody works with it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from synpref_dagster.storage import sqlite_files
from synpref_dagster.storage.sealed import DamagedError
from synpref_dagster.storage.sqlite_files import open_read_only, refuse_damaged

PAGE = 4096


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "a file.sqlite"
    with closing(sqlite3.connect(found)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
        connection.executemany("INSERT INTO t (text) VALUES (?)", [("row " * 50,)] * 500)
        connection.commit()
    sqlite_files._found_sound.clear()
    return found


def check(path):
    refuse_damaged(path, what="the book", remedy="Put a copy of it back.")


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def test_a_sound_file_passes_and_so_does_one_that_is_not_there(path, tmp_path):
    check(path)
    check(tmp_path / "not there")
    assert not (tmp_path / "not there").exists()


@pytest.mark.parametrize("name", ["a#b.db", "a?b.db", "a%41b.db", "a?mode=rwc#.db"])
def test_a_file_is_read_by_its_very_name_and_never_made_or_changed(
    path, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    path.replace(tmp_path / name)
    for place in (tmp_path / name, Path(name)):
        with open_read_only(place) as connection:
            assert connection.execute("SELECT COUNT(*) FROM t").fetchall() == [(500,)]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                connection.execute("DELETE FROM t")
    with pytest.raises(sqlite3.OperationalError), open_read_only(tmp_path / f"not {name}"):
        pytest.fail("there is none")
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("start", [0, 2 * PAGE, 20 * PAGE])
def test_a_damaged_page_is_refused_with_name_and_remedy_in_one_line(path, start):
    overwrite(path, start, b"\xff" * 64)
    with pytest.raises(
        DamagedError, match=r"the book .*a file\.sqlite is damaged: .*a copy"
    ) as said:
        check(path)
    assert str(said.value).endswith(". Put a copy of it back.")
    assert "\n" not in str(said.value)


def test_damage_that_sqlite_tells_in_broken_letters_or_many_lines_is_told_in_one(path):
    content = path.read_bytes()
    for broken in (b"CREATE T\xf6BLE", b"CREATE\n\n`TABLE"[:12]):
        path.write_bytes(content.replace(b"CREATE TABLE", broken))
        with pytest.raises(DamagedError, match=r"a file\.sqlite is damaged: .*a copy") as said:
            check(path)
        assert len(str(said.value).splitlines()) == 1


def test_a_file_that_was_cut_short_is_refused(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedError, match="is damaged"):
        check(path)


def test_a_file_in_use_passes(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        check(path)


def test_a_file_is_looked_through_once_per_process(path):
    check(path)
    overwrite(path, 2 * PAGE, b"\xff" * 64)
    check(path)
