"""The nightly schedule, on a real local Dagster instance.

The schedule is tried on three tiny assets in place of the campaign: what it compares are the tags
that Dagster writes on every materialisation, not what the assets are.
"""

import json

import dagster as dg
import pytest

from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.definitions.jobs import (
    ENDING_A_NIGHT,
    FILTER_POOL,
    KEPT_AT_NIGHT,
    campaign_jobs,
)
from synpref_dagster.definitions.loaded import LoadedProfile
from synpref_dagster.definitions.nightly import (
    REASON_TAG,
    StepVersion,
    differences,
    filtering_steps,
    nightly_schedule,
    stale_reason,
    tag_value,
)
from synpref_dagster.resources.campaign import SETTINGS, told_as
from synpref_dagster.resources.sources import LISTING
from synpref_dagster.settings.profile import load_profile

GOLD, REWARDS, SUBSET = (
    dg.AssetKey(name) for name in ("gold", "pool_rewards", "consistency_filtered_subset")
)


class Fixed:
    """In place of the campaign and its sources: the two facts that the schedule compares."""

    def __init__(self):
        self.files, self.settings = {"crowd/a.jsonl": "1"}, {"filtering.guard_floor": "0.8"}

    def listing(self):
        return json.dumps(self.files)

    def listed(self):
        return self.files

    def settings_fingerprint(self):
        return json.dumps(self.settings)

    def settings_told(self):
        return self.settings

    def settings_since(self, kept):
        heard = {name: each for name, each in kept.items() if not name.startswith("evidence.")}
        return heard, self.settings


class Location:
    """A code location of four assets whose content, facts and code version the test sets."""

    def __init__(self, instance):
        self.instance = instance
        self.content = dict.fromkeys(["attribute_labels", "pair_embeddings", *KEPT_AT_NIGHT], "a")
        self.content |= {"gold": "a", "pool_rewards": "a", "consistency_filtered_subset": "a"}
        self.content |= dict.fromkeys(["raw_pool", *ENDING_A_NIGHT], "a")
        self.code_version = "1"
        self.facts = Fixed()
        self.loaded = LoadedProfile(profile=load_profile("smoke"), name=None, build=build_defs)

    def definitions(self):
        def asset(name, group, deps=()):
            @dg.asset(name=name, group_name=group, deps=deps, code_version=self.code_version)
            def step():
                return dg.MaterializeResult(
                    data_version=dg.DataVersion(self.content[name]),
                    metadata={
                        LISTING: self.facts.listing(),
                        told_as(LISTING): self.facts.files,
                        SETTINGS: self.facts.settings_fingerprint(),
                        told_as(SETTINGS): self.facts.settings,
                    },
                )

            return step

        return dg.Definitions(
            assets=[
                asset("raw_pool", "1_pool"),
                asset("gold", "4_iteration_01"),
                asset("pool_rewards", "5_filtering", [GOLD]),
                asset("consistency_filtered_subset", "5_filtering", [GOLD, REWARDS]),
                *(asset(name, "2_attributes") for name in ("attribute_labels", "pair_embeddings")),
                *(asset(name, "1_pool") for name in KEPT_AT_NIGHT),
                *(asset(name, "6_release", [SUBSET]) for name in ENDING_A_NIGHT),
            ],
            jobs=[
                *(job for job in campaign_jobs() if job.name == FILTER_POOL),
                dg.define_asset_job("label_gold", selection=dg.AssetSelection.assets(GOLD)),
            ],
            schedules=[nightly_schedule(self.loaded)],
            resources={"campaign": self.facts, "sources": self.facts},
        )

    def run(self, job, tags=None):
        job = self.definitions().resolve_job_def(job)
        assert job.execute_in_process(instance=self.instance, tags=tags).success

    def tick(self):
        """The run request's reason, or None with the sentence that says why nothing runs."""
        defs = self.definitions()
        with dg.build_schedule_context(
            instance=self.instance,
            repository_def=defs.get_repository_def(),
            resources={"campaign": self.facts, "sources": self.facts},
        ) as context:
            tick = defs.resolve_schedule_def("nightly_filtering").evaluate_tick(context)
        if tick.run_requests:
            [request] = tick.run_requests
            self.asked = request.tags
            return request.tags[REASON_TAG], None
        return None, tick.skip_message


@pytest.fixture(scope="module")
def shared_instance():
    """One instance of all tests here: making its databases takes longer than a test."""
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def instance(shared_instance):
    shared_instance.wipe()
    return shared_instance


@pytest.fixture
def location(instance):
    return Location(instance)


@pytest.fixture
def filtered(location):
    """A location whose filtering ran and is up to date."""
    location.run("label_gold")
    location.run("filter_pool")
    return location


def test_a_campaign_that_never_finished_is_not_begun_by_a_night(location):
    location.run("label_gold")
    assert location.tick() == (
        None,
        "the campaign has not finished a first time (consistency_filtered_subset was never "
        "materialized): run the job curate_pool or `synpref run`, nights follow it",
    )


def test_a_step_that_a_finished_campaign_lacks_is_a_reason(filtered):
    filtered.instance.wipe_assets([dg.AssetKey("attribute_labels")])
    assert filtered.tick() == ("attribute_labels_never_materialized", None)


def test_an_unchanged_filtering_is_skipped_and_says_so(filtered):
    reason, message = filtered.tick()
    assert reason is None
    assert (
        message == "sources, settings, inputs and code of the filtering are those of its last run"
    )


def test_an_input_materialised_again_with_the_same_content_is_no_reason(filtered):
    filtered.run("label_gold")
    assert filtered.tick()[0] is None


def test_a_changed_input_is_a_reason_until_the_filtering_has_run(filtered):
    filtered.content["gold"] = "b"
    filtered.run("label_gold")
    assert filtered.tick() == ("gold_changed", None)
    filtered.run("filter_pool")
    assert filtered.tick()[0] is None


def test_an_input_that_changes_while_the_filtering_runs_is_not_lost(filtered):
    # The pool is replaced after the rewards were computed and before the decision is recorded:
    # by their times alone the decision would look newer than its input.
    filtered.content["gold"] = "b"
    defs = filtered.definitions()
    defs.resolve_job_def("filter_pool").execute_in_process(
        instance=filtered.instance, asset_selection=[REWARDS]
    )
    filtered.run("label_gold")
    defs.resolve_job_def("filter_pool").execute_in_process(
        instance=filtered.instance, asset_selection=[SUBSET]
    )
    assert filtered.tick() == ("gold_changed", None)


def test_new_source_files_are_a_reason_until_they_are_read(filtered):
    filtered.facts.files = {"crowd/a.jsonl": "2", "crowd/b.jsonl": "1"}
    reason = "source_listing_changed_crowd.a.jsonl_crowd.b.jsonl_new_"
    assert filtered.tick() == (reason, None)
    filtered.run("filter_pool")
    assert filtered.tick()[0] is None


def test_changed_settings_are_a_reason_until_the_filtering_has_run(filtered):
    filtered.facts.settings = {"filtering.guard_floor": "0.9"}
    assert filtered.tick() == ("settings_changed_filtering.guard_floor", None)
    filtered.run("filter_pool")
    assert filtered.tick()[0] is None


def test_settings_that_an_earlier_version_looked_at_are_no_reason_and_stand_in_none(filtered):
    decides = filtered.facts.settings
    filtered.facts.settings = {**decides, "evidence.num_judged": "1"}
    filtered.run("filter_pool")
    filtered.facts.settings = decides
    assert filtered.tick()[0] is None
    filtered.facts.settings = {"filtering.guard_floor": "0.9"}
    assert filtered.tick() == ("settings_changed_filtering.guard_floor", None)


def test_changed_code_is_a_reason(filtered):
    filtered.code_version = "2"
    reason, _ = filtered.tick()
    assert reason == "attribute_labels_code_changed"


def night(location, *, code_of_runs):
    """The run that the last tick asked for, with the code that processes have now."""
    loaded, location.code_version = location.code_version, code_of_runs
    location.run("filter_pool", tags=location.asked)
    location.code_version = loaded


def test_new_code_under_an_old_location_starts_one_night_and_then_asks_for_a_reload(filtered):
    location = filtered
    location.code_version = "2"
    location.run("filter_pool")  # by hand, from a process of its own
    location.code_version = "1"
    assert location.tick() == ("attribute_labels_code_changed", None)
    night(location, code_of_runs="2")
    reason, said = location.tick()
    assert reason is None
    assert said.startswith("runs have other code than this code location, which was loaded before ")
    assert "(attribute_labels is version 2 there and 1 here): reload the code location" in said
    # What is new is read all the same, and by the code that runs have.
    location.facts.files = {"crowd/b.jsonl": "1"}
    assert location.tick()[0].startswith("source_listing_changed")
    night(location, code_of_runs="2")
    assert location.tick()[1] == said
    location.code_version = "2"  # it was reloaded
    assert location.tick()[0] is None
    location.code_version = "3"  # and once more, after the next upgrade
    assert location.tick() == ("attribute_labels_code_changed", None)
    night(location, code_of_runs="3")
    assert location.tick()[1].startswith("sources, settings, inputs and code")


def test_a_step_whose_result_changed_by_hand_is_a_reason_for_those_after_it(filtered):
    filtered.content["pool_rewards"] = "b"
    filtered.definitions().resolve_job_def("filter_pool").execute_in_process(
        instance=filtered.instance, asset_selection=[REWARDS]
    )
    assert filtered.tick() == ("pool_rewards_changed", None)


def test_a_missing_or_older_export_or_report_is_no_reason(filtered):
    for name in ENDING_A_NIGHT:
        filtered.instance.wipe_assets([dg.AssetKey(name)])
    assert filtered.tick()[0] is None


def test_a_filtering_that_is_still_running_is_not_started_again(location):
    location.instance.create_run_for_job(
        location.definitions().resolve_job_def("filter_pool"), status=dg.DagsterRunStatus.STARTED
    )
    reason, message = location.tick()
    assert reason is None
    assert "filter_pool is still active" in message


def test_a_lost_input_counts_as_changed(filtered):
    steps = [StepVersion(key=SUBSET, code_version="1", parents=(dg.AssetKey("unheard_of"),))]
    assert stale_reason(filtered.instance, steps) == "unheard_of changed"


def test_a_reason_names_the_first_settings_or_files_that_differ():
    then = {"a": "1", "b": "1", "c": "1", "d": "1", "same": "1"}
    now = {"a": "2", "b": "2", "d": "2", "same": "1", "e": "1"}
    assert differences(then, now) == "a, b, c (gone) and 2 more"
    assert differences(then, {**then, "e": "1"}) == "e (new)"


def test_texts_and_settings_of_releases_start_nothing():
    profile = load_profile("smoke")
    filtering = profile.filtering.model_copy(update={"guard_floor": 0.9})
    changed = {
        "simulated": ("other words",),
        "next_steps": ("look",),
        "gates": profile.gates.model_copy(update={"min_gold_accuracy": 0.9}),
        "filtering": filtering,
    }
    told = {
        name: build_resources(profile.model_copy(update={name: value}))["campaign"].settings_told()
        for name, value in {"name": profile.name, **changed}.items()
    }
    before = told.pop("name")
    differing = {name: differences(before, now) for name, now in told.items()}
    assert differing.pop("filtering") == "filtering.guard_floor"
    assert set(differing.values()) == {""}


def test_no_value_of_a_setting_is_told():
    profile = load_profile("smoke")
    people = profile.people.model_copy(
        update={"backend": "page", "ledger_url": "postgresql://me:secret@host/db"}
    )
    told = build_resources(profile.model_copy(update={"people": people}))["campaign"]
    assert "secret" not in json.dumps(told.settings_told())


def test_reasons_become_legal_tags():
    assert tag_value("iteration_02/gold changed") == "iteration_02.gold_changed"
    assert len(tag_value("x" * 200)) == 63


def test_the_schedule_of_the_real_graph_watches_all_that_stage_two_rests_on(instance):
    defs = build_defs("smoke")
    resources = build_resources(load_profile("smoke"))
    with dg.build_schedule_context(
        instance=instance,
        repository_def=defs.get_repository_def(),
        resources={name: resources[name] for name in ("campaign", "sources")},
    ) as context:
        tick = defs.resolve_schedule_def("nightly_filtering").evaluate_tick(context)
        steps = {step.key.to_user_string(): step for step in filtering_steps(context)}
    assert "has not finished a first time" in tick.skip_message
    assert set(KEPT_AT_NIGHT).isdisjoint(steps)
    assert {"raw_pool", "clean_pool", "pair_embeddings", "recycled_pairs"} < set(steps)
    assert {"gold", "silver"} < set(steps)  # handed on anew, so that a corrected verdict is seen
    rests_on = {parent.to_user_string() for step in steps.values() for parent in step.parents}
    assert {"clean_pool", "vocabulary", "iteration_01/gold", "iteration_01/silver"} < rests_on
    assert {"iteration_00/reward_model", "iteration_01/reward_model"} < rests_on
    schedule = defs.resolve_schedule_def("nightly_filtering")
    assert schedule.cron_schedule == "0 2 * * *"
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
