"""Votes that ship with the sources answer first, and people are asked about the other pairs."""

import json

import pandas as pd
import pytest

from synpref_dagster.pairs.record import table_to_pairs
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.people import Reviewers
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import iter_tables

VOTES = [{"worker": "w", "value": "a"}, {"worker": "v", "value": "a"}]


@pytest.fixture
def asked(tmp_path):
    """Asks about two pairs with votes and one without; gives what came, and the ledger's desk."""
    voted = [
        {"prompt": f"v{n}", "response_a": "yes", "response_b": "no", "votes": VOTES} for n in (1, 2)
    ]
    plain = [{"prompt": "p", "chosen": "good", "rejected": "bad"}]
    for name, rows in {"voted": voted, "plain": plain}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    url = f"sqlite:///{tmp_path}/r.sqlite3"
    desk = ReviewDesk(ReviewDatabase(url), clock=lambda: 5.0)

    def ask(*names, **people):
        profile = load_profile("smoke").model_dump(mode="json")
        profile["pool"] = {
            "kind": "sources",
            "sources": [
                {"name": name, "path": str(tmp_path / f"{name}.jsonl"), "origin": "human"}
                for name in ("voted", "plain")
            ],
        }
        profile["people"] = {"backend": "page", "ledger_url": url, **people}
        campaign = Campaign(profile_json=json.dumps(profile), store_root=str(tmp_path / "store"))
        sources = PoolSources(campaign=campaign)
        kept = sources.read_pool().outputs["kept"]
        pairs = [pair for table in iter_tables(kept) for pair in table_to_pairs(table)]
        wanted = [pair for pair in pairs if pair.source in names]
        about = pd.DataFrame({"pair_id": [pair.pair_id for pair in wanted]})
        return Reviewers(sources=sources).ask("gold", lambda: wanted, lambda: about), desk, url

    return ask


def test_only_pairs_without_votes_are_put_before_people_and_both_make_the_ledger(asked):
    answers, desk, url = asked("voted", "plain", recorded_first=True)
    assert answers is None
    [status] = desk.statuses()
    assert status.batch.num_items == 1
    accounts = Accounts(ReviewDatabase(url), clock=lambda: 4.0)
    accounts.add("ann")
    who = accounts.named("ann")
    case, shown = desk.open(who)
    better = (
        "candidate_1" if case.item.candidates(shown.candidate_1)[0] == "good" else "candidate_2"
    )
    desk.submit(who, shown.form_token, {"verdict": better})
    answers, *_ = asked("voted", "plain", recorded_first=True)
    ledger = answers.ledger()
    assert sorted(ledger["annotator"]) == [
        "ann",
        *["voted/annotator_0"] * 2,
        *["voted/annotator_1"] * 2,
    ]
    assert (ledger["verdict"] == 1).all()
    assert ledger["decided"].all()
    assert (str(ledger["verdict"].dtype), str(ledger["seconds"].dtype)) == ("int8", "float64")


def test_nobody_is_asked_where_votes_answer_everything(asked):
    answers, desk, _ = asked("voted", recorded_first=True)
    assert len(answers.ledger()) == 4
    assert desk.statuses() == []


def test_people_are_asked_about_all_unless_they_are_told_otherwise(asked):
    answers, desk, _ = asked("voted", "plain")
    assert answers is None
    assert [status.batch.num_items for status in desk.statuses()] == [3]


def test_settings_that_change_while_a_batch_waits_change_it(asked):
    asked("voted", "plain", double_share=1.0)
    _, desk, _ = asked("voted", "plain", double_share=0.34, adjudicate=False)
    [status] = desk.statuses()
    assert [case.item.num_wanted for case in desk.cases(status.batch.batch_id)].count(2) == 1
    assert not any(case.adjudicate for case in desk.cases(status.batch.batch_id))
