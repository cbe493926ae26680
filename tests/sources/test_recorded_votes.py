"""Recorded votes over several files and sources: a person stays one person, two stay two."""

import json
from pathlib import Path

import pytest

from synpref_dagster.people.recorded import RecordedReviewer
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.pool import PoolSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources import shards as reading
from synpref_dagster.sources.reading import read_source
from synpref_dagster.storage import read_manifest


def votes(ask, **cast):
    return {
        "prompt": ask,
        "response_a": "Alpha",
        "response_b": "Beta",
        "votes": [{"worker": worker, "value": value} for worker, value in cast.items()],
    }


@pytest.fixture
def sources(tmp_path):
    """One source of two files, and another source; worker ids occur in all of them."""
    files = {
        "crowd/monday.jsonl": [votes("One?", ANN="a", BOB="b"), votes("Two?", BOB="a", CYD="a")],
        "crowd/tuesday.jsonl": [votes("Three?", CYD="a", ANN="b"), votes("One?", DAN="a")],
        "forum.jsonl": [votes("One?", ANN="b", EVE="b")],
    }
    for name, rows in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(map(json.dumps, rows)))
    pool = PoolSettings(
        kind="sources",
        recorded_verdicts="sources",
        sources=[
            {"name": "crowd", "path": str(tmp_path / "crowd"), "origin": "human"},
            {"name": "forum", "path": str(tmp_path / "forum.jsonl"), "origin": "human"},
        ],
    )
    profile = load_profile("smoke").model_copy(update={"pool": pool})
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path / "store"))
    return PoolSources(campaign=campaign)


def pairs(sources):
    """The pairs by their prompt; of two equal ones the last."""
    return {
        pair.conversation[0]["content"]: pair
        for spec in sources.files()
        for batch in read_source(spec, seed=0)
        for pair in batch.pairs
    }


def test_a_person_has_one_name_in_all_files_of_a_source_and_another_in_each_source(sources):
    names = [row["annotator"] for row in sources.recorded_verdicts()]
    ann, bob, cyd, dan = (f"crowd/annotator_{number}" for number in range(4))
    assert names == [
        *(ann, bob), *(bob, cyd),  # monday
        *(cyd, ann), dan,  # tuesday
        "forum/annotator_0", "forum/annotator_1",
    ]  # fmt: skip


def test_no_worker_id_is_in_what_leaves_the_sources(sources):
    text = json.dumps([{**row, "content_id": "id"} for row in sources.recorded_verdicts()])
    assert not any(worker in text for worker in ("ANN", "BOB", "CYD", "DAN", "EVE"))


def test_no_vote_is_lost_where_two_files_hold_votes_on_one_pair(sources):
    reviewer = RecordedReviewer(sources.recorded_verdicts())
    ledger = reviewer.review([pairs(sources)["One?"]])
    assert len(ledger) == 5
    assert len({row["annotator"] for row in ledger}) == 5


def test_votes_are_found_beside_the_pool_without_reading_the_sources_again(sources, monkeypatch):
    sources.read_pool()
    monkeypatch.setattr(reading, "read_source", None)
    assert len(sources.recorded_verdicts()) == 9


def test_only_votes_on_wanted_pairs_are_held_and_people_keep_their_numbers(sources):
    found = pairs(sources)
    wanted = [found["Three?"].content_id, found["Two?"].content_id]
    rows = sources.recorded_verdicts(wanted)
    # Bob was met first on another pair, and Ann before him.
    assert [row["annotator"].removeprefix("crowd/annotator_") for row in rows] == [*"12", *"20"]
    assert {row["content_id"] for row in rows} == set(wanted)
    assert sources.recorded_verdicts([]) == []


def test_people_keep_their_numbers_when_a_file_arrives_before_those_that_are_known(sources):
    before = sources.recorded_verdicts()
    crowd = Path(sources.files()[0].path).parent
    (crowd / "another.jsonl").write_text(json.dumps(votes("Four?", CYD="a", NEW="b")))
    after = PoolSources(campaign=sources.campaign).recorded_verdicts()
    assert after[: len(before)] == before
    names = [row["annotator"] for row in after[len(before) :]]
    assert names == ["crowd/annotator_2", "crowd/annotator_4"]


def test_a_file_without_votes_has_an_empty_shard_of_them(sources, tmp_path):
    row = {"prompt": "Five?", "chosen": "a", "rejected": "b"}
    (tmp_path / "crowd" / "plain.jsonl").write_text(json.dumps(row))
    read = PoolSources(campaign=sources.campaign).read_pool()
    assert [each.num_rows for each in read_manifest(read.outputs["votes"]).shards] == [4, 0, 3, 2]


def test_contents_with_a_vote_are_each_named_once_in_whatever_files_the_votes_are(sources):
    found = sources.voted_contents().to_pylist()
    assert sorted(found) == sorted({row["content_id"] for row in sources.recorded_verdicts()})
    assert len(found) == 3
