"""Two works never write one store; the same work may, and a dead writer holds up nobody."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from synpref_dagster.storage import writers
from synpref_dagster.storage.uris import file_sizes, to_path, write_bytes
from synpref_dagster.storage.writers import StoreInUseError, Work, writing

MINE = Work(campaign="smoke-seed-0", settings="a", instance="home")
OTHER = replace(MINE, settings="b")
HOLD = (
    "import sys, time, json\n"
    "from synpref_dagster.storage.writers import Work, writing\n"
    "with writing(sys.argv[1], Work(**json.loads(sys.argv[2]))):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.fixture(params=["", "memory://"])
def root(request, tmp_path):
    return f"{request.param}{tmp_path}/store"


def files(root):
    return sorted(file_sizes(to_path(f"{root}/writers")))


def leave_behind(root, **changes):
    """The file of a writer of other work, as one that cannot be asked left it."""
    writer = replace(writers._this_process(OTHER), holds=True, **changes)
    path = to_path(f"{root}/writers/left.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(asdict(writer)).encode())  # whole or not at all, as writers do
    return path


def written_ago(path, seconds):
    """Set the time at which the store says that a file was written."""
    if hasattr(path, "fs"):
        written = datetime.now(UTC) - timedelta(seconds=seconds)
        path.fs.store[path.path].modified = path.fs.store[path.path].created = written
    else:
        os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def short(monkeypatch):
    """Signs of life every 40 ms, and dead after 400 without one."""
    monkeypatch.setattr(writers, "BEAT_SECONDS", 0.04)
    monkeypatch.setattr(writers, "DEAD_SECONDS", 0.4)


def test_other_settings_and_another_instance_are_refused_in_one_line_until_it_ends(root):
    with writing(root, MINE):
        for other, how in (
            (OTHER, "under other settings"),
            (replace(MINE, instance="elsewhere"), "from another Dagster instance"),
        ):
            with pytest.raises(StoreInUseError) as caught, writing(root, other):
                pytest.fail("both write")
            [line] = str(caught.value).splitlines()
            assert line.startswith(f"the store {root} is being written by campaign smoke-seed-0")
            assert how in line
            assert f"process {os.getpid()} of " in line
            assert f"if it is dead, delete {root}/writers/" in line
    with writing(root, OTHER):
        assert len(files(root)) == 1
    assert files(root) == []


def test_the_same_work_may_be_done_twice_and_within_itself(root):
    other_run = writers._Presence(root, MINE)
    other_run.begin()
    with writing(root, MINE), writing(root, MINE):
        assert len(files(root)) == 2
    assert files(root) == [other_run.name]
    other_run.leave()
    with pytest.raises(KeyError, match="fails"), writing(root, MINE):
        raise KeyError("fails")
    assert files(root) == []


def test_stores_of_two_campaigns_do_not_hold_up_each_other(root):
    with writing(root, MINE), writing(f"{root}-2", OTHER):
        assert (len(files(root)), len(files(f"{root}-2"))) == (1, 1)


def test_a_writer_that_was_killed_is_followed_at_once(tmp_path):
    root = str(tmp_path / "store")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, root, json.dumps(asdict(OTHER))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreInUseError, match=f"process {holder.pid} "), writing(root, MINE):
        pytest.fail("both write")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert len(files(root)) == 1
    with writing(root, MINE):
        assert len(files(root)) == 1
        assert str(holder.pid) not in files(root)[0]


@pytest.mark.parametrize(
    ("changes", "is_dead"),
    [
        ({}, False),
        ({"process": 2**22 + 1}, True),
        ({"born": "1"}, True),  # its number was given to another process
        ({"beat": 0.0}, False),  # it hangs, and is there
    ],
)
def test_who_is_dead_is_known_of_processes_of_this_machine(root, changes, is_dead):
    left = leave_behind(root, **changes)
    if is_dead:
        with writing(root, MINE):
            assert not left.exists()
    else:
        with pytest.raises(StoreInUseError), writing(root, MINE):
            pytest.fail("both write")
        assert left.exists()


DAY = 86_400.0


@pytest.mark.parametrize("clock", [0.0, DAY, -DAY])
@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"space": "another container"}])
def test_a_dead_writer_elsewhere_is_followed_whatever_its_clock_says(root, short, elsewhere, clock):
    left = leave_behind(root, **elsewhere, beat=time.time() + clock, process=2**22 + 1)
    written_ago(left, 1)
    with writing(root, MINE):
        assert not left.exists()


def test_a_dead_writer_is_followed_after_the_clock_of_the_store_was_set_back(root, short):
    left = leave_behind(root, host="other")
    written_ago(left, -DAY)
    began = time.monotonic()
    with writing(root, MINE):
        assert not left.exists()
    assert time.monotonic() - began > writers.DEAD_SECONDS


@pytest.mark.parametrize("age", [0, 1, DAY, -DAY])
@pytest.mark.parametrize("clock", [0.0, DAY, -DAY])
def test_a_living_writer_elsewhere_is_never_taken_for_dead(root, short, monkeypatch, age, clock):
    monkeypatch.setattr(writers, "WATCHED_BEATS", 50)  # however slow this machine is
    monkeypatch.setattr(writers, "DEAD_SECONDS", 2.0)
    left, ended = leave_behind(root, host="other"), threading.Event()

    def live():
        beat = time.time() + clock
        while not ended.wait(writers.BEAT_SECONDS):
            beat += writers.BEAT_SECONDS
            leave_behind(root, host="other", beat=beat)
            written_ago(left, age)  # the clock of the store was set as well

    alive = threading.Thread(target=live)
    written_ago(left, age)
    alive.start()
    try:
        with pytest.raises(StoreInUseError) as caught, writing(root, MINE):
            pytest.fail("both write")
    finally:
        ended.set()
        alive.join()
    assert left.exists()
    assert re.search(r"last sign of life \d+ s ago", str(caught.value))


def test_a_file_that_says_nothing_is_named(root):
    left = leave_behind(root)
    left.write_bytes(b'{"half"')
    with pytest.raises(StoreInUseError, match="does not say who writes"), writing(root, MINE):
        pytest.fail("both write")
    assert files(root) == ["left.json"]
    left.unlink()
    with writing(root, MINE):
        pass


def test_signs_of_life_come_until_the_file_is_taken_away(root, monkeypatch):
    monkeypatch.setattr(writers, "BEAT_SECONDS", 0.02)
    with writing(root, MINE):
        [name] = files(root)
        path = to_path(f"{root}/writers/{name}")
        first = json.loads(path.read_bytes())["beat"]
        end = time.monotonic() + 5
        while json.loads(path.read_bytes())["beat"] == first and time.monotonic() < end:
            time.sleep(0.02)
        assert json.loads(path.read_bytes())["beat"] > first
        path.unlink()  # somebody breaks the lock, and another takes the store
        time.sleep(0.2)
        assert files(root) == []
        taker = writers._Presence(root, OTHER)
        taker.begin()
        with pytest.raises(StoreInUseError), writing(root, MINE):
            pytest.fail("both write")
        taker.leave()


def test_of_many_that_begin_at_once_never_two_works_are_at_it(root, monkeypatch):
    monkeypatch.setattr(writers, "LONGEST_WAIT", 0.05)
    inside, seen, refused, lock = [], set(), [], threading.Lock()

    def work(number):
        presence = writers._Presence(root, replace(MINE, settings=str(number % 3)))
        try:
            presence.begin()
        except StoreInUseError as error:
            refused.append(error)
            return
        with lock:
            inside.append(number % 3)
            seen.add(frozenset(inside))
        time.sleep(0.05)
        with lock:
            inside.remove(number % 3)
        presence.leave()

    threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert seen
    assert all(len(works) == 1 for works in seen)
    assert files(root) == []
