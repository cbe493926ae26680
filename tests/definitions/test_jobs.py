"""Jobs of the real graph, on a real local Dagster instance."""

import shutil

import dagster as dg
import pytest


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


def test_a_backfill_of_one_size_touches_that_size_only(finished_campaign, new_campaign, instance):
    campaign = new_campaign("backfill")
    for name in ("refs", "world"):
        shutil.copytree(finished_campaign.root / name, campaign.root / name)
    before = campaign.files()
    size = "llama-3.2-1b"
    job = campaign.defs.resolve_job_def("release_models")
    assert job.execute_in_process(partition_key=size, instance=instance).success
    for name in ("skywork_reward_v2", "benchmark_scores"):
        assert instance.get_materialized_partitions(dg.AssetKey(name)) == {size}
    changed = campaign.changed_since(before)
    sized = ("backbones/", "models/skywork_reward_v2/", "data/benchmark_scores/", "releases/")
    places = (*sized, "refs/")
    assert changed
    assert {name for name in changed if size not in name} == set()
    assert all(name.startswith(places) for name in changed)
    assert {f"refs/skywork_reward_v2/{size}.json", f"refs/benchmark_scores/{size}.json"} < changed
