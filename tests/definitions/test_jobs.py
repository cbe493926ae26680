"""Jobs of the real graph, on a real local Dagster instance."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from synpref_dagster.publishing.release.folder import changed_files
from synpref_dagster.reward.training import loop

SIZE = "qwen3-0.6b"  # released by the campaign that others start from


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


def test_a_backfill_of_one_size_ends_with_its_release_and_its_row(
    finished_campaign, new_campaign, instance
):
    campaign = new_campaign("backfill")
    for name in ("refs", "world"):
        shutil.copytree(finished_campaign.root / name, campaign.root / name)
    before = campaign.files()
    size = "llama-3.2-1b"
    job = campaign.defs.resolve_job_def("release_models")
    assert job.execute_in_process(partition_key=size, instance=instance).success
    for name in ("skywork_reward_v2", "benchmark_scores", "model_release"):
        assert instance.get_materialized_partitions(dg.AssetKey(name)) == {size}
    board = campaign.frame(campaign.ref("leaderboard"))
    assert set(board["model_size"]) == {size, SIZE}
    release = Path(campaign.ref(f"model_release/{size}").uri)
    assert changed_files(release) == []
    places = ("data/leaderboard/", "refs/leaderboard.json")
    changed = {name for name in campaign.changed_since(before) if not name.startswith(places)}
    folders = ("data/skywork_reward_v2/", "data/benchmark_scores/")
    sized = ("backbones/", "models/skywork_reward_v2/", *folders, "releases/")
    places = (*sized, "refs/")
    assert changed
    assert {name for name in changed if size not in name} == set()
    assert all(name.startswith(places) for name in changed)
    assert {f"refs/skywork_reward_v2/{size}.json", f"refs/benchmark_scores/{size}.json"} < changed


def test_a_model_that_was_there_says_so_and_is_trained_anew_on_request(
    finished_campaign, new_campaign, monkeypatch
):
    campaign = new_campaign("again")
    for name in ("refs", "world"):
        shutil.copytree(finished_campaign.root / name, campaign.root / name)
    steps = []
    take_step = loop.take_step
    monkeypatch.setattr(loop, "take_step", lambda *a, **k: steps.append(1) or take_step(*a, **k))

    def told(**config):
        result = campaign.defs.resolve_job_def("release_models").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            partition_key=SIZE,
            asset_selection=[dg.AssetKey("skywork_reward_v2")],
            run_config={"ops": {"skywork_reward_v2": {"config": config}}},
        )
        [event] = result.get_asset_materialization_events()
        made = event.step_materialization_data.materialization
        return made.metadata["reused"].value, made.metadata["fingerprint"].value, bool(steps)

    first, weights, _ = told()
    steps.clear()
    assert told() == (True, weights, False)
    assert told(retrain=True) == (False, weights, True)
    assert first is False
