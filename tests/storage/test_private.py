"""Files of their owner alone, whatever the umask; in a shared folder they are the group's too."""

import os
import sqlite3
import stat

import pytest

from synpref_dagster.storage.private import (
    make_private,
    make_private_folder,
    narrow_databases,
)
from synpref_dagster.storage.processes import alone_beside


@pytest.fixture(autouse=True, params=[0o022, 0o000, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder):
    return {each.name: oct(stat.S_IMODE(each.stat().st_mode)) for each in folder.iterdir()}


def written(path):
    """A database in the middle of a transaction, with what SQLite writes beside it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
    connection.execute("INSERT INTO t VALUES (1)")
    return connection


def test_a_database_and_what_is_beside_it_are_its_owners_alone(tmp_path):
    make_private(tmp_path / "a.db")
    connection = written(tmp_path / "a.db")
    assert modes(tmp_path) == dict.fromkeys(("a.db", "a.db-wal", "a.db-shm"), "0o600")
    connection.close()


def test_what_is_wider_is_narrowed_and_keeps_its_content(tmp_path):
    connection = written(tmp_path / "a.db")
    connection.commit()
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    make_private(tmp_path / "a.db")
    assert set(modes(tmp_path).values()) == {"0o600"}
    assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
    connection.close()


def test_in_a_folder_with_the_setgid_bit_they_are_the_groups_too(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    (shared / "wide.db").touch()
    (shared / "wide.db").chmod(0o666)
    for name in ("new.db", "wide.db"):
        make_private(shared / name)
    with alone_beside(shared / "new.db"):
        assert modes(shared) == dict.fromkeys(("new.db", "wide.db", ".new.db.lock"), "0o660")
    make_private_folder(shared / "below" / "home")
    assert oct((shared / "below" / "home").stat().st_mode & 0o7777) == "0o2770"


def test_a_lock_is_as_private_as_what_it_is_about(tmp_path):
    with alone_beside(tmp_path / "a"):
        assert modes(tmp_path) == {".a.lock": "0o600"}


def test_a_folder_is_private_when_it_is_made_and_left_when_it_is_there(tmp_path):
    make_private_folder(tmp_path / "a" / "b")
    assert oct((tmp_path / "a" / "b").stat().st_mode & 0o777) == "0o700"
    (tmp_path / "c").mkdir()
    (tmp_path / "c").chmod(0o750)
    make_private_folder(tmp_path / "c")
    assert modes(tmp_path)["c"] == "0o750"


def test_databases_below_a_folder_are_narrowed_and_other_files_are_not(tmp_path):
    (tmp_path / "h" / "runs").mkdir(parents=True)
    for name in ("h/runs.db", "h/runs/1.db", "h/runs/1.db-wal", "h/notes.txt"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    narrow_databases(tmp_path / "h")
    narrow_databases(tmp_path / "nowhere")
    assert modes(tmp_path)["h"] == "0o700"
    assert {**modes(tmp_path / "h"), **modes(tmp_path / "h" / "runs")} == {
        "runs.db": "0o600",
        "runs": oct(stat.S_IMODE((tmp_path / "h" / "runs").stat().st_mode)),
        "notes.txt": "0o644",
        "1.db": "0o600",
        "1.db-wal": "0o600",
    }


def test_a_link_is_followed_to_the_file_it_means(tmp_path):
    (tmp_path / "real.db").touch()
    (tmp_path / "real.db").chmod(0o644)
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    make_private(tmp_path / "link.db")
    assert modes(tmp_path)["real.db"] == "0o600"


def test_a_folder_in_the_place_of_a_file_keeps_its_rights(tmp_path):
    folders = [tmp_path / "reviews", tmp_path / "reviews-wal"]
    for each in folders:
        each.mkdir()
        each.chmod(0o755)
    make_private(folders[0])
    assert [stat.S_IMODE(each.stat().st_mode) for each in folders] == [0o755, 0o755]
