"""MLflow's SQLite file: whole or not there, and one that a killed start left is moved away."""

import os
import sqlite3
import subprocess
import sys
import time

import pytest

from synpref_dagster.resources.tracking import database
from synpref_dagster.resources.tracking.database import make_database
from synpref_dagster.resources.tracking.runs import MlflowTracking


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "mlflow.db"


def uri(path):
    return f"sqlite:///{path}"


def experiments(path):
    client = MlflowTracking(tracking_uri=uri(path), experiment="tests", campaign="c")._client()
    return [each.name for each in client.search_experiments()]


def test_the_file_is_made_whole_with_nothing_beside_it(path):
    make_database(uri(path))
    seen = [each.name for each in path.parent.iterdir() if not each.name.endswith(".lock")]
    assert seen == ["mlflow.db"]
    assert experiments(path) == ["Default"]


def test_a_file_that_is_there_stays_as_it_is(path):
    make_database(uri(path))
    experiments(path)
    before = path.stat().st_ino
    make_database(uri(path))
    assert path.stat().st_ino == before


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%41b"])
def test_signs_of_addresses_in_a_path_hide_neither_version_nor_rows(tmp_path, name):
    path = tmp_path / name
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('f')")
        connection.execute("CREATE TABLE experiments (n INTEGER)")
    assert database.versions_in(path) == {"f"}
    assert database._is_half_made(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO experiments VALUES (0)")
    assert not database._is_half_made(path)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_other_stores_are_left_to_mlflow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for other in ("http://127.0.0.1:9", "postgresql://u:p@h/d", "sqlite:///:memory:"):
        make_database(other)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", ["empty", "some_tables"])
def test_what_a_killed_start_left_is_moved_away(path, caplog, left):
    path.parent.mkdir()
    path.write_bytes(b"")
    if left == "some_tables":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
            connection.execute("CREATE TABLE metrics (key TEXT)")
    os.utime(path, (0, 0))
    assert experiments(path) == ["Default"]
    assert len(list(path.parent.glob("mlflow.db.half-made-*"))) == 1
    assert "was half made by a start that was killed" in caplog.text


def test_a_file_that_is_being_made_is_waited_for(path, monkeypatch):
    path.parent.mkdir()
    path.write_bytes(b"")
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        path.unlink()
        make = database._make
        make(path)

    monkeypatch.setattr(database.time, "sleep", sleep)
    make_database(uri(path))
    assert waits == [1]
    assert experiments(path) == ["Default"]
    assert not list(path.parent.glob("*.half-made-*"))


def refusal(path):
    with pytest.raises(ValueError, match=f"the MLflow database {path}") as caught:
        make_database(uri(path))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_damaged_file_is_named_in_one_line_and_left_where_it_is(path):
    path.parent.mkdir()
    path.write_bytes(b"no database" * 500)
    os.utime(path, (0, 0))
    assert "file is not a database. Put back a copy" in refusal(path)
    assert path.read_bytes() == b"no database" * 500


def test_a_file_of_a_newer_mlflow_is_named_and_one_of_an_older_is_left_to_mlflow(path):
    make_database(uri(path))

    def version(text):
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [text])

    version("ffffffffffff")
    assert "has version ffffffffffff, which the installed MLflow does not know" in refusal(path)
    version("451aebb31d03")  # MLflow's first
    make_database(uri(path))


def test_a_full_disk_is_named_and_leaves_no_file(path, monkeypatch):
    def make(part):
        part.write_bytes(b"a part")
        raise sqlite3.OperationalError("database or disk is full\n[SQL: ...]")

    monkeypatch.setattr(database, "_make", make)
    assert "cannot be made: database or disk is full. Free space" in refusal(path)
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot be made: .*File exists"):
        make_database(uri(tmp_path / "file" / "mlflow.db"))


HOLD = (
    "import sys, time\n"
    "from synpref_dagster.resources.tracking.database import alone_in\n"
    "with alone_in(sys.argv[1]):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_who_shares_the_file_waits_also_with_another_folder_for_temporary_files(tmp_path):
    """As users, containers and jobs of a cluster have them; before the file is made as well."""
    path, started = tmp_path / "made later" / "mlflow.db", []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path / name)}
        said = (tmp_path / f"{name}.txt").open("w")
        command = [sys.executable, "-c", HOLD, f"sqlite:///{path}"]
        started.append(subprocess.Popen(command, env={**os.environ, **environment}, stdout=said))
        if name == "one":
            assert has_said(tmp_path / "one.txt", within=300)
    try:
        assert not has_said(tmp_path / "other.txt", within=2)
        started[0].kill()
        assert has_said(tmp_path / "other.txt", within=300)
    finally:
        for each in started:
            each.kill()
            each.wait()
    assert [*(tmp_path / "one").iterdir()] == []


def has_said(path, *, within):
    end = time.monotonic() + within
    while not path.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(path.read_text())
