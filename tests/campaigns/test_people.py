"""A campaign that waits for people: paused, everything restarted, continued, corrected."""

import time

import dagster as dg
import pytest
from answering import answer, correct_the_last_verdict, recorded_signs, sign_in
from review_servers import free_port, review_page

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.stages import PeopleSettings

pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(900)]

SEED, VERDICTS = "human_verified_seed", "iteration_01/human_verdicts"


@pytest.fixture
def paused(tmp_path, monkeypatch):
    return PausedCampaign(tmp_path, monkeypatch)


class PausedCampaign:
    """The smoke campaign with people on the review page; every look at it opens all anew."""

    def __init__(self, base, monkeypatch):
        monkeypatch.setenv("SYNPREF_STORE", str(base / "store"))
        monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{base / 'mlflow.db'}")
        self.url = f"sqlite:///{base}/review.sqlite3"
        self.home = base / "dagster"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        people = PeopleSettings(backend="page", ledger_url=self.url, double_share=0.1)
        plain = load_profile("smoke")
        self.profile = plain.model_copy(
            update={
                "people": people,
                "seed_set": plain.seed_set.model_copy(update={"num_gold": 80}),
                "iterations": plain.iterations.model_copy(update={"num_human": 20}),
            }
        )
        self.cursor = None

    def run(self, selection=None):
        """Run the campaign (or a part of it) in a Dagster that was just started."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            job = build_defs(self.profile).resolve_job_def("curate_pool")
            result = job.execute_in_process(instance=instance, asset_selection=selection)
            assert result.success
            return {
                event.asset_key.to_user_string()
                for event in result.get_asset_materialization_events()
            }

    def tick(self):
        """What the sensor of a Dagster that was just started wants to run; None for nothing."""
        defs = build_defs(self.profile)
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            context = dg.build_sensor_context(
                instance=instance, cursor=self.cursor, repository_def=defs.get_repository_def()
            )
            outcome = context.repository_def.get_sensor_def("verdicts_arrived")(context)
            if isinstance(outcome, dg.SkipReason):
                print(outcome.skip_message)
                return None
            for event in outcome.asset_events:
                instance.report_runless_asset_event(event)
            self.cursor = outcome.cursor
            [request] = outcome.run_requests
            return request.asset_selection


def test_a_campaign_waits_for_people_and_continues_where_they_are_done(paused):
    accounts = Accounts(ReviewDatabase(paused.url), clock=time.time)
    tokens = [accounts.add("ann"), accounts.add("bob"), accounts.add("carol", adjudicator=True)]
    work = {"url": paused.url, "signs": recorded_signs(paused.profile)}

    begun = paused.run()
    assert "seed_candidates" in begun
    assert not {SEED, "silver_seed", "iteration_00/reward_model"} & begun
    assert paused.tick() is None

    with review_page(paused.url, free_port()) as address:
        answer(address, sign_in(address, tokens[0]), **work, at_most=30)
    assert paused.tick() is None
    with review_page(paused.url, free_port()) as address:
        for token in tokens:
            answer(address, sign_in(address, token), **work)
    wanted = paused.tick()
    assert dg.AssetKey(SEED) in wanted
    assert dg.AssetKey("seed_candidates") not in wanted
    assert paused.tick() is None

    continued = paused.run(wanted)
    assert {SEED, "silver_seed", "iteration_01/judge_votes"} <= continued
    assert not {VERDICTS, "iteration_01/gold", "consistency_filtered_subset"} & continued
    assert paused.tick() is None

    with review_page(paused.url, free_port()) as address:
        browsers = [sign_in(address, token) for token in tokens]
        assert sum(answer(address, browser, **work) for browser in browsers) > 0
        wanted = paused.tick()
        finished = paused.run(wanted)
        assert {VERDICTS, "consistency_filtered_subset", "filter_audit"} <= finished
        assert paused.tick() is None

        correct_the_last_verdict(address, browsers[0])
        wanted = {key.to_user_string() for key in paused.tick()}
    assert {VERDICTS, "iteration_01/gold", "consistency_filtered_subset"} <= wanted
    untouched = {SEED, "silver_seed", "clean_pool", "iteration_01/retrieved_pairs"}
    assert not untouched & wanted
    again = paused.run([dg.AssetKey(name.split("/")) for name in wanted])
    assert again == wanted
    assert paused.tick() is None
