"""Two campaigns side by side in one instance: the same graph twice, and nothing in common."""

import dagster as dg
import pytest

from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.definitions.jobs import FILTER_POOL, active_run, campaign_jobs
from synpref_dagster.definitions.nightly import REASON_TAG, filtering_steps
from synpref_dagster.definitions.releasing import unreleased
from synpref_dagster.resources.campaign import SETTINGS, key_of, name_of, told_as
from synpref_dagster.resources.sources import LISTING
from synpref_dagster.settings.profile import load_profile

JOBS = [job.name for job in campaign_jobs()]


@pytest.fixture(scope="module")
def instance():
    with dg.instance_for_test() as opened:
        yield opened


def profile_of(prefix, **changes):
    """The smoke profile with people in the graph, under a prefix and a name of its own."""
    smoke = load_profile("smoke")
    people = smoke.people.model_copy(update={"backend": "page"})
    named = {"name": prefix or "smoke", "key_prefix": prefix, "people": people}
    return smoke.model_copy(update={**named, **changes})


def test_a_prefix_comes_before_every_key_and_changes_nothing_else():
    plain = build_defs(profile_of("")).resolve_asset_graph()
    prefixed = build_defs(profile_of("own")).resolve_asset_graph()
    new = {key: key.with_prefix("own") for key in plain.get_all_asset_keys()}
    assert prefixed.get_all_asset_keys() == set(new.values())
    for key in new:
        before, after = plain.get(key), prefixed.get(new[key])
        assert after.parent_keys == {new[parent] for parent in before.parent_keys}
        assert (after.group_name, after.code_version) == (before.group_name, before.code_version)
        assert (after.tags, after.pools) == (before.tags, before.pools)
        assert after.partitions_def == before.partitions_def
    assert prefixed.asset_check_keys == {
        dg.AssetCheckKey(new[check.asset_key], check.name) for check in plain.asset_check_keys
    }


@pytest.mark.parametrize("name", ["raw_pool", "model_release", "iteration_01/gold"])
def test_a_selection_without_the_prefix_is_refused_and_told_the_whole_key(name):
    """What `dagster asset materialize --select` says; docs/campaigns.md has what to type."""
    graph = build_defs(profile_of("own")).resolve_asset_graph()
    with pytest.raises(dg.DagsterInvalidSubsetError, match=name) as caught:
        dg.AssetSelection.from_coercible([name]).resolve(graph)
    assert key_of(name, "own").to_string() in str(caught.value)
    for typed in (f"own/{name}", f'key:"*{name}"'):
        found = dg.AssetSelection.from_coercible([typed]).resolve(graph)
        assert found == {key_of(name, "own")}


@pytest.mark.parametrize("name", JOBS)
def test_jobs_make_the_same_assets_in_the_same_steps(name):
    plain, prefixed = (build_defs(profile_of(each)).resolve_job_def(name) for each in ("", "own"))
    assert {name_of(key, "own") for key in prefixed.asset_layer.selected_asset_keys} == {
        name_of(key) for key in plain.asset_layer.selected_asset_keys
    }
    assert {node.name for node in prefixed.nodes} == {node.name for node in plain.nodes}


def test_names_and_keys_lead_to_each_other():
    for prefix in ("", "own"):
        for name in ("raw_pool", "iteration_01/gold"):
            assert name_of(key_of(name, prefix), prefix) == name
    assert key_of("iteration_01/gold", "own").path == ["own", "iteration_01", "gold"]


def finish(instance, profile):
    """The history of a campaign whose filtering ran and is up to date."""
    resources = build_resources(profile)
    campaign, sources = resources["campaign"], resources["sources"]
    facts = {
        **campaign.about(),
        LISTING: sources.listing(),
        told_as(LISTING): sources.listed(),
        SETTINGS: campaign.settings_fingerprint(),
        told_as(SETTINGS): campaign.settings_told(),
    }
    defs = build_defs(profile)
    graph = defs.resolve_asset_graph()
    with dg.build_schedule_context(
        instance=instance, repository_def=defs.get_repository_def()
    ) as context:
        steps = filtering_steps(context, profile.key_prefix)
    parents = {parent: None for step in steps for parent in step.parents}
    for key in {**parents, **{step.key: None for step in steps}}:
        tags = {
            "dagster/data_version": "1",
            "dagster/code_version": graph.get(key).code_version,
            **{
                f"dagster/input_data_version/{parent.to_user_string()}": "1"
                for parent in graph.get(key).parent_keys
            },
        }
        instance.report_runless_asset_event(
            dg.AssetMaterialization(key, metadata=facts, tags={k: str(v) for k, v in tags.items()})
        )


def tick(instance, profile):
    defs = build_defs(profile)
    resources = build_resources(profile)
    with dg.build_schedule_context(
        instance=instance,
        repository_def=defs.get_repository_def(),
        resources={name: resources[name] for name in ("campaign", "sources")},
    ) as context:
        found = defs.resolve_schedule_def("nightly_filtering").evaluate_tick(context)
    return [request.tags[REASON_TAG] for request in found.run_requests], found.skip_message


def test_a_tick_of_each_campaign_judges_by_its_own_history(instance, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    recorded = load_profile("smoke").people
    first, second, bare = (profile_of(each, people=recorded) for each in ("a", "b", ""))
    finish(instance, first)
    unchanged = "sources, settings, inputs and code of the filtering are those of its last run"
    assert tick(instance, first) == ([], unchanged)
    assert "not finished a first time (b/consistency" in tick(instance, second)[1]
    finish(instance, second)
    strict = second.filtering.model_copy(update={"guard_floor": 0.9})
    changed = second.model_copy(update={"filtering": strict})
    assert tick(instance, changed) == (["settings_changed_filtering.guard_floor"], None)
    assert tick(instance, first) == ([], unchanged)
    assert "(consistency_filtered_subset was never" in tick(instance, bare)[1]


def test_a_run_of_one_campaign_holds_up_no_other(instance):
    job = build_defs(profile_of("a")).resolve_job_def(FILTER_POOL)
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.run_tags)
    assert active_run(instance, [FILTER_POOL], "a").run_id == run.run_id
    assert active_run(instance, [FILTER_POOL], "b") is None
    assert active_run(instance, [FILTER_POOL], "") is None
    instance.delete_run(run.run_id)


def test_a_training_of_one_campaign_asks_for_its_own_release(instance):
    trained = dg.AssetMaterialization(key_of("skywork_reward_v2", "a"), partition="qwen3-0.6b")
    instance.report_runless_asset_event(trained)
    sizes = ["qwen3-0.6b"]
    assert list(unreleased(instance, sizes)) == []
    assert list(unreleased(instance, sizes, prefix="b")) == []
    [request] = unreleased(instance, sizes, prefix="a")
    names = ["benchmark_scores", "model_release", "leaderboard"]
    assert request.asset_selection == [dg.AssetKey(["a", name]) for name in names]
