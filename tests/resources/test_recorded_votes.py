"""Recorded votes over several files and sources: a person stays one person, two stay two."""

import json

import pytest

from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.pool_sources import PoolSources
from synpref_dagster.resources.recorded_reviewer import RecordedReviewer
from synpref_dagster.settings import PoolSettings, load_profile
from synpref_dagster.sources.reading import read_source


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
    pairs = {
        pair.conversation[0]["content"]: pair
        for spec in sources.files()
        for batch in read_source(spec, seed=0)
        for pair in batch.pairs
    }
    ledger = reviewer.review([pairs["One?"]])
    assert len(ledger) == 5
    assert len({row["annotator"] for row in ledger}) == 5
