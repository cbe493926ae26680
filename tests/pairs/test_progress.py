"""Facts about the progress of a step, as its log carries them."""

import json

import pytest

from synpref_dagster.pairs.progress import (
    ATTRIBUTE,
    BeforePeople,
    ChunksDone,
    FilesSkipped,
    JudgeReplies,
    TrackerAway,
)

FACTS = {
    ChunksDone: ChunksDone(what="candidates", done=3, total=49),
    JudgeReplies: JudgeReplies(
        judge="gpt", done=1, total=4, per_second=2.0, usd=0.0, seconds_left=None
    ),
    BeforePeople: BeforePeople(num_pairs=1200),
    FilesSkipped: FilesSkipped(num_files=2, some="LICENSE, README.md"),
    TrackerAway: TrackerAway(why="[no] reply", kept_in="store/waiting"),
}


@pytest.mark.parametrize("fact", FACTS.values())
def test_a_logger_that_writes_json_can_write_the_facts(fact):
    assert json.loads(json.dumps({ATTRIBUTE: fact})) == {ATTRIBUTE: list(fact)}
