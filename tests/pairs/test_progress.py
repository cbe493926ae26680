"""Facts about the progress of a step, as its log carries them."""

import json
import threading
from types import SimpleNamespace

import pytest

from synpref_dagster.pairs import progress
from synpref_dagster.pairs.progress import (
    ATTRIBUTE,
    BeforePeople,
    ChunkPace,
    ChunksDone,
    FilesSkipped,
    JudgeReplies,
    ReadingPace,
    ResponsesRead,
    StepsTaken,
    TrackerAway,
    heard_by,
    say,
)

FACTS = {
    ChunksDone: ChunksDone(what="candidates", done=3, total=49),
    JudgeReplies: JudgeReplies(
        judge="gpt", done=1, total=4, per_second=2.0, usd=0.0, seconds_left=None
    ),
    ResponsesRead: ResponsesRead(done=3, total=9, per_second=0.5),
    BeforePeople: BeforePeople(num_pairs=1200),
    FilesSkipped: FilesSkipped(num_files=2, some="LICENSE, README.md"),
    TrackerAway: TrackerAway(why="[no] reply", kept_in="store/waiting"),
}


@pytest.mark.parametrize("fact", FACTS.values())
def test_a_logger_that_writes_json_can_write_the_facts(fact):
    assert json.loads(json.dumps({ATTRIBUTE: fact})) == {ATTRIBUTE: list(fact)}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands where a test puts it."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_what_is_said_is_heard_by_who_listens_in_this_thread_and_no_longer():
    outer, inner = [], []
    fact = BeforePeople(num_pairs=1)
    with heard_by(outer.append):
        with heard_by(inner.append):
            say(fact)
        other = threading.Thread(target=say, args=(fact,))
        other.start()
        other.join()
        say(fact)
    say(fact)
    assert (len(outer), len(inner)) == (1, 1)


def test_a_reading_says_its_pace_every_two_seconds_then_every_ten_and_at_its_end(clock):
    told = []
    pace = ReadingPace(100, listener=told.append)
    for second, done in ((1, 1), (2, 4), (3, 6), (4, 8), (61, 50), (64, 60), (72, 90), (73, 100)):
        clock.now = 100.0 + second
        pace.at(done)
    assert [(each.done, each.per_second) for each in told] == [
        (4, 2.0), (8, 2.0), (50, 50 / 61), (90, 1.25), (100, 100 / 73),
    ]  # fmt: skip
    assert str(told[0]) == "backbone: 4 of 100 responses read, 2.0/s, 48 s left"


def test_a_short_reading_says_nothing(clock):
    told = []
    pace = ReadingPace(2, listener=told.append)
    clock.now += 1.9
    pace.within(0, 2, 0.5)
    pace.within(0, 2, 1.0)
    assert told == []


def test_chunks_tell_the_time_left_by_those_that_were_worked_on(clock):
    told = []
    pace = ChunkPace("rewards", listener=told.append)
    clock.now += 10
    pace(8, 10)  # seven were there
    assert told == [ChunksDone("rewards", 8, 10, seconds_left=20.0)]
    assert str(told[0]) == "rewards: 8/10 chunks, 20 s left"
    assert str(ChunksDone("rewards", 8, 10)) == "rewards: 8/10 chunks"


def test_a_training_of_seconds_is_not_worth_a_line_in_a_log():
    taken = StepsTaken(model="m", done=1, total=400, seconds_a_step=0.02)
    assert taken.is_short
    assert not taken._replace(seconds_a_step=0.2).is_short
