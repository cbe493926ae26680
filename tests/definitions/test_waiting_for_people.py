"""The sensor between people and the campaign; the campaign itself is not run."""

import time

import dagster as dg
import pandas as pd
import pytest
from review_cases import ATTRIBUTES, make_pair

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.definitions.jobs import CURATE_POOL
from synpref_dagster.definitions.nightly import SUBSET, idle_reason
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.campaign import People
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.stages import PeopleSettings

PAIRS = [make_pair(number) for number in range(4)]
VERDICTS = "iteration_01/human_verdicts"


class Waiting:
    """A smoke campaign that put a batch before people, and its sensor."""

    def __init__(self, base, key_prefix="", **settings):
        self.url = f"sqlite:///{base}/review.sqlite3"
        values = {"backend": "page", "ledger_url": self.url, "double_share": 0.0, **settings}
        changes = {"people": PeopleSettings(**values), "key_prefix": key_prefix}
        self.profile = load_profile("smoke").model_copy(update=changes)
        self.repository = build_defs(self.profile).get_repository_def()
        self.cursor = None
        self.people = People(self.profile.people, campaign=self.profile.campaign_name())
        about = pd.DataFrame([{"pair_id": pair.pair_id, **ATTRIBUTES} for pair in PAIRS])
        assert self.people.ask(VERDICTS, PAIRS, lambda: about) is None
        self.store = ReviewDatabase(self.url)
        self.desk = ReviewDesk(self.store, clock=time.time)
        accounts = Accounts(self.store, clock=time.time)
        accounts.add("ann")
        self.ann = accounts.named("ann")

    def answer(self, *verdicts):
        for verdict in verdicts:
            _, shown = self.desk.open(self.ann)
            self.desk.submit(self.ann, shown.form_token, {"verdict": verdict})

    def undo(self):
        last = self.desk.progress(self.ann).last_form_token
        assert self.desk.undo(self.ann, last) is not None

    def night(self, instance):
        """Why no night runs now, or None."""
        return idle_reason(instance, Campaign.of(self.profile))

    def tick(self, instance):
        context = dg.build_sensor_context(
            instance=instance, cursor=self.cursor, repository_def=self.repository
        )
        outcome = self.repository.get_sensor_def("verdicts_arrived")(context)
        if isinstance(outcome, dg.SensorResult):
            self.cursor = outcome.cursor
        return outcome


@pytest.fixture
def waiting(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    return lambda **settings: Waiting(tmp_path, **settings)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def names(outcome):
    [request] = outcome.run_requests
    return {key.to_user_string() for key in request.asset_selection}


def test_while_people_work_it_says_for_what_it_waits(waiting, instance):
    campaign = waiting()
    campaign.answer("tie", "candidate_1")
    assert campaign.tick(instance).skip_message.startswith(
        f"waiting for people: {VERDICTS} 2 of 4 (2 for an answer"
    )


def test_a_finished_batch_continues_exactly_what_rests_on_it_once(waiting, instance):
    campaign = waiting()
    campaign.answer(*["candidate_1"] * 4)
    outcome = campaign.tick(instance)
    assert {VERDICTS, "iteration_01/gold", "people_audit"} <= names(outcome)
    assert not {"human_verified_seed", "iteration_01/retrieved_pairs", "clean_pool"} & names(
        outcome
    )
    [event] = outcome.asset_events
    assert event.asset_key == dg.AssetKey(["people", *VERDICTS.split("/")])
    assert event.metadata["num_verdicts"].value == 4
    assert isinstance(campaign.tick(instance), dg.SkipReason)


def test_after_the_deadline_the_minimum_share_continues_it(waiting, instance):
    campaign = waiting(deadline_hours=0, min_share=0.5)
    campaign.answer("tie")
    assert isinstance(campaign.tick(instance), dg.SkipReason)
    campaign.answer("tie")
    assert VERDICTS in names(campaign.tick(instance))
    # Who answers late changes the answer, and what rests on it runs again.
    campaign.answer("tie")
    assert VERDICTS in names(campaign.tick(instance))


def test_a_deadline_that_has_not_passed_lets_nothing_continue(waiting, instance):
    campaign = waiting(deadline_hours=1, min_share=0.5)
    campaign.answer("tie", "tie", "tie")
    assert isinstance(campaign.tick(instance), dg.SkipReason)


@pytest.mark.parametrize(
    "again", [{"verdict": "tie"}, {"verdict": "candidate_1", "objectivity": "subjective"}]
)
def test_a_corrected_verdict_or_attribute_runs_again_and_a_mere_withdrawal_does_not(
    waiting, instance, again
):
    campaign = waiting()
    campaign.answer(*["candidate_1"] * 4)
    [first] = campaign.tick(instance).run_requests
    campaign.undo()
    assert isinstance(campaign.tick(instance), dg.SkipReason)
    _, shown = campaign.desk.open(campaign.ann)
    edits = {name: value for name, value in again.items() if name != "verdict"}
    answer = {"verdict": again["verdict"], "edited_attributes": edits}
    campaign.desk.submit(campaign.ann, shown.form_token, answer)
    [second] = campaign.tick(instance).run_requests
    assert second.asset_selection == first.asset_selection
    assert second.run_key != first.run_key


def test_an_undone_click_that_is_given_again_runs_nothing(waiting, instance):
    campaign = waiting()
    campaign.answer(*["candidate_1"] * 4)
    campaign.tick(instance)
    campaign.undo()
    campaign.answer("candidate_1")
    assert isinstance(campaign.tick(instance), dg.SkipReason)


def test_a_run_that_is_still_active_comes_first(waiting, instance):
    campaign = waiting()
    campaign.answer(*["candidate_1"] * 4)
    run = instance.create_run_for_job(
        campaign.repository.get_job(CURATE_POOL), status=dg.DagsterRunStatus.STARTED
    )
    assert run.run_id in campaign.tick(instance).skip_message
    instance.delete_run(run.run_id)
    assert VERDICTS in names(campaign.tick(instance))


def test_no_night_goes_on_where_people_are_asked(waiting, instance):
    campaign = waiting()
    assert "has not finished a first time" in campaign.night(instance)
    instance.report_runless_asset_event(dg.AssetMaterialization(SUBSET))
    campaign.answer("tie")
    assert campaign.night(instance).startswith(f"waiting for people: {VERDICTS} 1 of 4 (3")
    run = instance.create_run_for_job(
        campaign.repository.get_job(CURATE_POOL), status=dg.DagsterRunStatus.STARTED
    )
    assert campaign.night(instance) == f"run {run.run_id} of {CURATE_POOL} is still active"
    instance.delete_run(run.run_id)
    campaign.answer(*["tie"] * 3)
    assert campaign.night(instance) is None


def test_a_batch_that_a_later_one_replaced_holds_up_no_night(waiting, instance):
    campaign = waiting()
    instance.report_runless_asset_event(dg.AssetMaterialization(SUBSET))
    about = pd.DataFrame([{"pair_id": PAIRS[0].pair_id, **ATTRIBUTES}])
    campaign.people.ask(VERDICTS, PAIRS[:1], lambda: about)
    assert campaign.night(instance).startswith(f"waiting for people: {VERDICTS} 0 of 1 (1")


def test_with_a_prefix_the_sensor_reports_and_asks_for_prefixed_keys(waiting, instance):
    campaign = waiting(key_prefix="own")
    campaign.answer(*["tie"] * 4)
    outcome = campaign.tick(instance)
    assert {f"own/{VERDICTS}", "own/iteration_01/gold", "own/people_audit"} <= names(outcome)
    [event] = outcome.asset_events
    assert event.asset_key == dg.AssetKey(["own", "people", *VERDICTS.split("/")])
