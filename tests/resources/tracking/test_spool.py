"""What waits keeps its order, appears whole and says since when, on a disk and in a store."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from synpref_dagster.resources.tracking import spool as module
from synpref_dagster.resources.tracking.spool import Away, Spool, is_too_soon, key_of


@pytest.fixture(params=["disk", "memory"])
def spool(request, tmp_path):
    places = {"disk": str(tmp_path / "waiting"), "memory": f"memory://{tmp_path.name}/waiting"}
    return Spool(places[request.param])


def test_records_are_read_in_the_order_in_which_they_came(spool):
    assert spool.names() == []
    for number in range(20):
        spool.add({"kind": "metrics", "points": [["x", float(number), 0]]})
    found = [spool.read(name)["points"][0][1] for name in spool.names()]
    assert found == [float(number) for number in range(20)]
    spool.remove(spool.names()[0])
    spool.remove("00-gone.json")
    assert len(spool.names()) == 19


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_was_set_puts_nothing_before_what_waits(spool, monkeypatch, days):
    """Also not for a process that begins afterwards, which knows nothing of the first one."""
    now, seconds_in_day = time.time_ns(), 86_400
    for number, offset in enumerate([0, days, 0]):
        monkeypatch.setattr(module, "_last", [0])
        monkeypatch.setattr(
            time, "time_ns", lambda offset=offset: now + offset * seconds_in_day * 10**9
        )
        another = Spool(spool.uri)
        another.add({"n": 2 * number})
        another.add({"n": 2 * number + 1})
    assert [spool.read(name)["n"] for name in spool.names()] == [0, 1, 2, 3, 4, 5]


def test_equal_records_of_several_threads_are_all_kept(tmp_path):
    spool = Spool(str(tmp_path))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: spool.add({"kind": "end"}), range(100)))
    assert len(spool.names()) == 100


def test_a_record_is_known_by_all_that_it_says_before_and_after_it_waited(spool):
    record = {"kind": "checkpoint", "time": 5, "points": [("accuracy", 0.5, 0)]}
    spool.add(record)
    [name] = spool.names()
    assert key_of(spool.read(name)) == key_of(record)
    assert key_of({**record, "time": 6}) != key_of(record)


def test_what_is_put_aside_keeps_its_words_and_the_reason(spool, tmp_path):
    spool.add({"kind": "params"})
    [name] = spool.names()
    spool.refuse(name, "changed")
    assert (spool.names(), spool.num_refused()) == ([], 1)
    kept = Spool(f"{spool.uri}/refused").read(name)
    assert kept == {"why": "changed", "record": json.dumps({"kind": "params"})}


def test_who_waited_long_asks_late(spool):
    assert spool.away() is None
    spool.note_away("refused", seconds=0.001)
    first = spool.away()
    assert 0.5 < first.until - time.time() <= 1
    spool.note_away("silent", seconds=5.0)
    second = spool.away()
    assert (second.why, second.since) == ("silent", first.since)
    assert 99 < second.until - time.time() <= 100
    assert spool.names() == []
    spool.note_answered()
    assert spool.away() is None


def test_each_run_is_told_once_as_long_as_mlflow_is_away(spool):
    assert not spool.is_news("run-1")
    for _ in range(2):
        spool.note_away("refused", seconds=1)
    told = [spool.is_news(run) for run in ("run-1", "run-1", "run-2", "run-1", "run-2")]
    assert told == [True, False, True, False, False]
    spool.note_answered()
    spool.note_away("refused again", seconds=1)
    assert spool.is_news("run-1")


@pytest.mark.parametrize(("seconds_left", "too_soon"), [(5.0, True), (-1.0, False), (1e6, False)])
def test_a_clock_that_was_set_back_keeps_nobody_waiting(seconds_left, too_soon):
    now = time.time()
    assert is_too_soon(Away("gone", now, now + seconds_left)) is too_soon
    assert not is_too_soon(None)
