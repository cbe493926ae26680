"""What judges are asked once per pair: false alarms of contamination, responses for annotators."""

import json

import dagster as dg
import fake_judge_server as fake
import pytest
import reading_judge
from endpoint_profile import small_profile

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.stages import PeopleSettings
from synpref_dagster.storage import from_json

pytestmark = pytest.mark.servers

POOL = (
    "raw_pool",
    "benchmark_prompts",
    "clean_pool",
    "strict_overlaps",
    "wild_pool",
    "unverified_pool",
)
COINCIDENCE = json.dumps({"reason": "boilerplate", "decision": "coincidence"})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs assets of a profile; gives the result and a reader of what they left."""
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")

    def start(profile, *names, store="store"):
        monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / store))
        result = (
            build_defs(profile)
            .resolve_job_def("curate_pool")
            .execute_in_process(
                instance=dg.DagsterInstance.ephemeral(),
                asset_selection=[dg.AssetKey(name) for name in names],
                raise_on_error=False,
            )
        )
        root = tmp_path / store / "smoke" / "seed-0"
        campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(root))

        def frame(name, part=None):
            ref = from_json((root / "refs" / f"{name}.json").read_text())
            return campaign.frame(getattr(ref, part) if part else ref)

        return result, frame

    return start


def with_recheck(profile):
    pool = profile.pool.model_copy(update={"recheck_contamination": True})
    return profile.model_copy(update={"pool": pool})


def metadata(result, name):
    [found] = [
        event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key.to_user_string() == name
    ]
    return {key: value.value for key, value in found.items()}


def check(result):
    [found] = [
        each
        for each in result.get_asset_check_evaluations()
        if each.check_name == "zero_contamination"
    ]
    return found


def test_judges_that_see_the_same_item_clear_nothing(run):
    with fake.serve(reading_judge.answer) as server:
        profile = small_profile(server.url)
        result, frame = run(with_recheck(profile), *POOL)
    assert result.success
    told = metadata(result, "clean_pool")
    contaminated = (frame("clean_pool", "dropped")["reason"] == "contaminated").sum()
    assert told["num_hits_rechecked"] == contaminated > 0
    assert told["num_hits_cleared"] == 0
    assert told["judge_usd/careful/contamination_review"] > 0
    assert check(result).passed


def test_a_cleared_hit_stays_in_the_pool_with_its_reason_but_never_reaches_gold(run):
    with fake.serve(lambda _: COINCIDENCE) as server:
        plain = small_profile(server.url)
        before, old = run(plain, *POOL, store="plain")
        assert server.num_calls == 0  # nobody is asked unless the profile says so
        result, frame = run(with_recheck(plain), *POOL)
    assert before.success
    assert result.success
    hits = old("clean_pool", "dropped").query("reason == 'contaminated'")
    cleared = set(hits["pair_id"])
    assert metadata(result, "clean_pool")["num_hits_cleared"] == len(cleared) > 0
    kept = set(frame("clean_pool", "kept")["pair_id"])
    assert cleared <= kept
    assert "contaminated" not in set(frame("clean_pool", "dropped")["reason"])
    assert cleared <= set(frame("wild_pool")["pair_id"])
    assert not cleared & set(frame("unverified_pool")["pair_id"])
    assert check(result).passed
    assert check(result).metadata["num_cleared_by_judges"].value == len(cleared)


def test_a_recheck_without_judges_is_refused_with_what_to_set(run):
    result, _ = run(with_recheck(load_profile("smoke")), *POOL)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "judges.kind is 'exemplar'" in str(failure.step_failure_data.error)


def test_people_find_what_a_judge_says_of_each_response_behind_the_fold(run, tmp_path):
    url = f"sqlite:///{tmp_path}/review.sqlite3"
    names = (*POOL, "attribute_labels", "seed_candidates", "human_verified_seed")
    with fake.serve(reading_judge.answer) as server:
        plain = small_profile(server.url)
        people = PeopleSettings(backend="page", ledger_url=url)
        profile = plain.model_copy(update={"people": people})
        result, _ = run(profile, *names)
        assert result.success
        asked = server.num_calls
        result, _ = run(profile, "human_verified_seed")  # people have not answered yet
        assert server.num_calls == asked
    store = ReviewDatabase(url)
    desk = ReviewDesk(store, clock=float)
    [status] = desk.statuses(profile.campaign_name())
    items = [case.item for case in desk.cases(status.batch.batch_id)]
    store.close()
    assert len(items) == 70
    assert {tuple(item.preverification) for item in items} == {("first", "second")}
    notes = {item.preverification["first"].split(", says")[0] for item in items}
    assert notes <= {"Looks correct", "Looks wrong", "Cannot tell"}
    assert len(notes) > 1


def test_a_profile_can_do_without_pre_verification(run, tmp_path):
    url = f"sqlite:///{tmp_path}/review.sqlite3"
    names = (*POOL, "attribute_labels", "seed_candidates", "human_verified_seed")
    with fake.serve(reading_judge.answer) as server:
        people = PeopleSettings(backend="page", ledger_url=url, pre_verify=False)
        result, _ = run(small_profile(server.url).model_copy(update={"people": people}), *names)
        systems = {body["messages"][0]["content"] for body in server.bodies}
    assert result.success
    assert not any("You check one response" in text for text in systems)
