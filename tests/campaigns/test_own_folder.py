"""From a folder with files to a report: recorded votes answer, one person on the page the rest."""

import json
import time

import dagster as dg
import pytest
from answering import answer, sign_in
from review_servers import free_port, review_page

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.ledger import database
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.page.serving import ledger_url
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources.survey.starting import first_profile
from synpref_dagster.sources.survey.writing import write_profile

pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(900)]
NUM_PLAIN, NUM_VOTED = 160, 40


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """What `synpref init` makes of two files, one of them with votes on too few pairs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("SYNPREF_REVIEW_LEDGER", f"sqlite:///{tmp_path / 'review.sqlite3'}")
    plain = [
        {
            "prompt": f"What is {n} and {n}?",
            "chosen": f"It is {2 * n}, as both are {n}.",
            "rejected": f"I would say {n + 1}",
        }
        for n in range(NUM_PLAIN)
    ]
    votes = [{"worker": name, "value": "a"} for name in ("v", "w")]
    voted = [
        {
            "prompt": f"Name a word with {n} in it.",
            "response_a": f"The word is number{n}.",
            "response_b": f"No such word, sorry {n}",
            "votes": votes,
        }
        for n in range(NUM_VOTED)
    ]
    for name, rows in {"plain": plain, "voted": voted}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    start = first_profile([], tmp_path, known_backbone=None, unfit=str)
    write_profile(start.draft.text(), tmp_path / "synpref.toml", may_replace=False)
    return load_profile("synpref.toml")


def run(profile, home, job="curate_pool"):
    """Run a job as far as people let it; the assets that ran."""
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        result = build_defs(profile).resolve_job_def(job).execute_in_process(
            instance=instance
        )  # fmt: skip
        assert result.success
        materialized = result.get_asset_materialization_events()
        return {event.asset_key.to_user_string() for event in materialized}


def test_one_person_answers_what_no_vote_does_and_the_campaign_ends_with_its_report(
    profile, tmp_path
):
    assert (profile.people.backend, profile.people.recorded_first) == ("page", True)
    url = ledger_url()
    ledger = ReviewDatabase(url)
    token = Accounts(ledger, clock=time.time).add("ann")
    home, given, rounds = tmp_path / "home", 0, 0
    while "curated_dataset" not in (ran := run(profile, home)):
        assert rounds < 3, f"still waiting, having run {sorted(ran)}"
        with review_page(url, free_port()) as address:
            given += answer(address, sign_in(address, token), url=url, signs={})
        rounds += 1
    assert rounds == 2  # the seed, and what iteration 1 found
    assert "campaign_report" in run(profile, home, "refresh_leaderboard")
    assert given == len(ledger.rows(database.verdicts))
    asked = {row["pair_id"] for row in ledger.rows(database.assignments)}
    assert len(asked) == given  # no pair twice: there is nobody else
    report = json.loads(next((tmp_path / "store").rglob("report.json")).read_text())
    assert report["export"]["num_train"] > 0
