"""No run goes on with another campaign's assets, under two profiles, or on a plan of another graph.

Campaigns are one asset each here: what is compared is on runs and materialisations, not in results.
"""

import shutil

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from fakes import NullTracking

from synpref_dagster.assets.run_guard import PROFILE_OF_TAG
from synpref_dagster.assets.step import campaign_step
from synpref_dagster.resources.campaign import PROFILE_TAG, TAKE_OVER_TAG, Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage.writers import StoreInUseError


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def campaign_of(base, *, store="store", **settings):
    profile = load_profile("smoke").model_copy(update=settings)
    root = base / store / profile.name / f"seed-{profile.seed}"
    return Campaign(profile_json=profile.model_dump_json(), store_root=str(root))


def step_of(campaign, name, deps=(), then=lambda: None):
    @dg.asset(key=campaign.key(name), deps=list(deps), code_version="1", dagster_type=dg.Any)
    def step(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with campaign_step(context, campaign, NullTracking()) as here:
            ref = here.dataset(lambda: pd.DataFrame({"n": [1]}), inputs=[])
        then()
        return here.result(ref)

    return step


def materialize(instance, campaign, tags=None):
    """What a run of the campaign's raw pool says: None when all is well, else why it failed."""
    result = dg.materialize(
        [step_of(campaign, "raw_pool")], instance=instance, tags=tags, raise_on_error=False
    )
    refs = campaign.local_folder("refs")
    (refs / "raw_pool.json").write_text("{}")  # as the IO manager of a real campaign leaves it
    return said(result.all_events)


def said(events):
    found = [event for event in events if event.is_step_failure]
    return found[0].step_failure_data.user_failure_data.description if found else None


@pytest.mark.parametrize(
    "other", [{"name": "other"}, {"seed": 1}, {"store": "elsewhere"}], ids=lambda each: str(each)
)
def test_a_second_campaign_with_the_same_keys_is_refused_and_told_what_to_do(
    tmp_path, instance, other
):
    first, second = campaign_of(tmp_path), campaign_of(tmp_path, **other)
    assert materialize(instance, first) is None
    refusal = materialize(instance, second)
    assert refusal.startswith("raw_pool in the Dagster instance ")
    assert f"another campaign, smoke-seed-0 in {first.store_root}: " in refusal
    for way_out in ("`key_prefix`", "DAGSTER_HOME", "--take-over", f"{TAKE_OVER_TAG}=true"):
        assert way_out in refusal
    assert "\n" not in refusal
    assert materialize(instance, first) is None


def test_a_changed_setting_or_a_moved_store_is_the_same_campaign(tmp_path, instance):
    first = campaign_of(tmp_path)
    assert materialize(instance, first) is None
    filtering = first.profile.filtering.model_copy(update={"guard_floor": 0.9})
    assert materialize(instance, campaign_of(tmp_path, filtering=filtering)) is None
    shutil.move(tmp_path / "store", tmp_path / "moved")
    assert materialize(instance, campaign_of(tmp_path, store="moved")) is None


def test_a_history_that_does_not_say_where_it_was_made_goes_on(tmp_path, instance):
    @dg.asset(name="raw_pool")
    def made_before():
        return dg.MaterializeResult(metadata={"profile": "smoke", "seed": 0})

    dg.materialize([made_before], instance=instance)
    assert materialize(instance, campaign_of(tmp_path)) is None
    dg.materialize([made_before], instance=instance)
    assert "another campaign, smoke-seed-0: " in materialize(
        instance, campaign_of(tmp_path, seed=1)
    )


def test_keys_are_taken_over_once_and_are_the_others_no_longer(tmp_path, instance):
    first, second = campaign_of(tmp_path), campaign_of(tmp_path, name="renamed")
    assert materialize(instance, first) is None
    assert materialize(instance, second, {TAKE_OVER_TAG: "true"}) is None
    assert materialize(instance, second) is None
    assert "another campaign, renamed-seed-0" in materialize(instance, first)


def test_with_prefixes_both_go_on_and_files_are_called_by_names_alone(tmp_path, instance):
    first = campaign_of(tmp_path)
    second = campaign_of(tmp_path, name="other", key_prefix="b")
    for campaign in (first, second, first, second):
        assert materialize(instance, campaign) is None
    assert {key.to_user_string() for key in instance.all_asset_keys()} == {"raw_pool", "b/raw_pool"}
    folders = [path.name for path in (tmp_path / "store" / "other" / "seed-0" / "data").iterdir()]
    assert folders == ["raw_pool"]


def test_a_prefix_is_no_setting_that_decides_about_a_pair(tmp_path):
    prefixed = campaign_of(tmp_path, key_prefix="b")
    assert campaign_of(tmp_path).settings_fingerprint() == prefixed.settings_fingerprint()


def test_a_run_that_found_its_store_in_use_gives_way_to_the_end(tmp_path, instance):
    campaign = campaign_of(tmp_path)

    @dg.asset
    def raw_pool(context: dg.AssetExecutionContext):
        with (
            dg.DagsterInstance.ephemeral() as another,
            campaign.writing(another),
            pytest.raises(StoreInUseError),
            campaign_step(context, campaign, NullTracking()),
        ):
            pass
        # The other campaign is between two of its steps now.
        with campaign_step(context, campaign, NullTracking()):
            pass

    gave_way = dg.materialize([raw_pool], instance=instance, raise_on_error=False)
    assert said(gave_way.all_events).startswith("another campaign was writing the store when an ")
    assert materialize(instance, campaign, gave_way.dagster_run.tags) is None


def job_of(assets):
    defs = dg.Definitions(assets=list(assets), executor=dg.in_process_executor)
    return defs.resolve_implicit_global_asset_job_def()


def planned(instance, *assets, tags=None):
    """A run as a code location with these assets asks for it."""
    return instance.create_run_for_job(job_of(assets), tags=tags)


def worked(instance, run, *assets):
    """What the worker of a run says that has these assets."""
    execute_run(InMemoryJob(job_of(assets)), run, instance)
    logs = instance.all_logs(run.run_id)
    return said([record.dagster_event for record in logs if record.dagster_event])


def test_a_worker_obeys_the_profile_that_it_finds_and_the_run_says_which(tmp_path, instance):
    before = campaign_of(tmp_path)
    filtering = before.profile.filtering.model_copy(update={"guard_floor": 0.9})
    now = campaign_of(tmp_path, filtering=filtering)
    run = planned(instance, step_of(before, "raw_pool"))
    assert worked(instance, run, step_of(now, "raw_pool")) is None
    tags = instance.get_run_by_id(run.run_id).tags
    assert tags[PROFILE_TAG] == now.profile_fingerprint() != before.profile_fingerprint()
    assert tags[PROFILE_OF_TAG] == run.run_id


def test_a_profile_that_changes_while_a_run_is_under_way_ends_it(tmp_path, instance):
    before = campaign_of(tmp_path)
    filtering = before.profile.filtering.model_copy(update={"guard_floor": 0.9})
    now = campaign_of(tmp_path, filtering=filtering)
    first = step_of(before, "raw_pool")
    assets = [first, step_of(now, "clean_pool", deps=[first])]
    why = worked(instance, planned(instance, *assets), *assets)
    assert why.startswith("the profile smoke changed while this run was under way (")
    assert "start it again; finished steps are kept" in why
    # One that repeats it inherits its tags, and begins anew under the profile as it is.
    assets = [step_of(now, "raw_pool"), step_of(now, "clean_pool", deps=[first])]
    old = {PROFILE_TAG: before.profile_fingerprint(), PROFILE_OF_TAG: "the-run-before"}
    assert worked(instance, planned(instance, *assets, tags=old), *assets) is None


def test_texts_for_reports_change_no_run(tmp_path):
    assert (
        campaign_of(tmp_path).profile_fingerprint()
        == campaign_of(tmp_path, next_steps=("look",)).profile_fingerprint()
    )


def test_a_run_that_was_planned_with_other_assets_is_refused_and_says_reload(tmp_path, instance):
    campaign = campaign_of(tmp_path)
    first = step_of(campaign, "raw_pool")
    run = planned(instance, first)
    why = worked(instance, run, first, step_of(campaign, "clean_pool", deps=[first]))
    assert why.startswith("the profile smoke gives other assets than when this run was planned: ")
    assert "reload the code location" in why
