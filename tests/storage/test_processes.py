"""Processes that share a machine: one goes first, and a killed one holds up nobody."""

import os
import subprocess
import sys
import time

import pytest

from synpref_dagster.storage.processes import alone_beside, alone_with

HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from synpref_dagster.storage.processes import alone_beside\n"
    "with alone_beside(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def holder(path, said, **environment):
    """A process that writes into the file `said` once it holds the lock."""
    with said.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdout=output,
        )


def has_it(said, *, within):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if said.read_text():
            return True
        time.sleep(0.05)
    return False


def test_who_has_another_place_for_temporary_files_waits_too_and_a_killed_holder_lets_go(tmp_path):
    shared, other = tmp_path / "shared.db", tmp_path / "tmp"
    other.mkdir()
    started = [holder(shared, tmp_path / "first")]
    try:
        assert has_it(tmp_path / "first", within=30)
        started.append(holder(shared, tmp_path / "second", TMPDIR=str(other)))
        assert not has_it(tmp_path / "second", within=2)
        started[0].kill()
        assert has_it(tmp_path / "second", within=30)
    finally:
        for each in started:
            each.kill()
            each.wait()


def test_a_link_to_a_path_is_locked_with_it(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with alone_beside(tmp_path / "link" / "a.db"):
        pass
    assert [each.name for each in (tmp_path / "real").iterdir()] == [".a.db.lock"]


def test_where_no_lock_file_can_be_this_user_is_still_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / ".a.db.lock").mkdir()
    with alone_beside(tmp_path / "a.db"):
        assert len(list(tmp_path.glob("synpref-*/*.lock"))) == 1


def test_an_error_inside_comes_out_and_frees_the_lock(tmp_path):
    with pytest.raises(OSError, match="mine"), alone_beside(tmp_path / "a.db"):
        raise OSError("mine")
    with alone_beside(tmp_path / "a.db"):
        pass


def test_a_folder_of_locks_that_is_a_link_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"synpref-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="belongs to somebody else"), alone_with("x"):
        pass
