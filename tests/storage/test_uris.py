"""Paths are local or in an object store; local files appear whole."""

import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from synpref_dagster.storage.uris import (
    file_sizes,
    process_is_alive,
    read_bytes,
    remove_leftovers,
    storage_options,
    to_path,
    write_bytes,
)


def test_local_uris_are_plain_paths():
    assert to_path("a/b") == Path("a/b")
    assert to_path("file:///data/my%20pool") == Path("/data/my pool")


def test_a_file_that_is_taken_away_while_a_folder_is_listed_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "goes").write_bytes(b"1")
    (tmp_path / "stays").write_bytes(b"12")
    listed = os.scandir

    @contextmanager
    def scandir(folder):
        with listed(folder) as entries:
            found = list(entries)
        (tmp_path / "goes").unlink()
        yield found

    monkeypatch.setattr(os, "scandir", scandir)
    assert file_sizes(tmp_path) == {"stays": 2}


def test_other_protocols_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"ftp://host/x.*s3://"):
        to_path("ftp://host/x")


def test_s3_is_configured_by_the_environment(monkeypatch):
    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("SYNPREF_S3_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    options = storage_options("s3")
    assert options["endpoint_url"] == "http://127.0.0.1:1"
    assert options["client_kwargs"] == {"region_name": "eu-central-1"}
    assert "very-secret" not in repr(options)


@pytest.mark.parametrize("base", ["local", "memory://test-uris"])
def test_files_are_written_read_and_listed_alike(tmp_path, base):
    root = to_path(str(tmp_path) if base == "local" else base)
    assert read_bytes(root / "a" / "x") is None
    assert file_sizes(root / "a") == {}
    write_bytes(root / "a" / "x", b"12345")
    write_bytes(root / "a" / "x", b"123")
    write_bytes(root / "a" / "below" / "y", b"1")
    assert read_bytes(root / "a" / "x") == b"123"
    assert file_sizes(root / "a") == {"x": 3}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    write_bytes(tmp_path / "x", b"old")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "x", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_only_files_of_dead_writers_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "host.example")
    alive = "synpref_dagster.storage.uris.process_is_alive"
    monkeypatch.setattr(alive, lambda process: process == 7)
    for name in [
        ".s.host-example~6-1.tmp",
        ".s.host-example~7-1.tmp",
        ".s.other~6-1.tmp",
        ".z.tmp",
    ]:
        (tmp_path / name).write_bytes(b"")
    assert remove_leftovers(tmp_path) == 1
    assert not (tmp_path / ".s.host-example~6-1.tmp").exists()


def test_a_killed_process_that_nobody_reaped_is_not_alive():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process_is_alive(process.pid)
        process.kill()
        # WNOWAIT: it is dead now, but stays a zombie until the block ends.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not process_is_alive(process.pid)
    assert not process_is_alive(process.pid)


def test_an_endpoint_with_a_password_in_it_is_refused_without_saying_it(monkeypatch):
    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", "http://ann:pa55word@127.0.0.1:9")
    with pytest.raises(ValueError, match="SYNPREF_S3_ENDPOINT names a user") as caught:
        to_path("s3://bucket/x")
    assert "pa55word" not in str(caught.value)


def test_a_full_disk_names_the_file_that_was_written(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.json'"):
        write_bytes(tmp_path / "a.json", b"{}")
    assert [*tmp_path.iterdir()] == []
