"""The whole campaign on a Ray cluster: the same decisions and fingerprints as in process."""

import pytest

from synpref_dagster.settings.shards import RaySettings, ShardSettings

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'synpref-dagster[ray]'")

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

# No address: each run starts a cluster on this machine, and ends it.
ON_RAY = ShardSettings(executor="ray", workers=2, ray=RaySettings(object_store_mb=100))


def shards_computed(campaign):
    """Shards (or files) worked on by the last run of the jobs, by asset."""
    return {
        event.asset_key.to_user_string(): entry.value
        for result in campaign.results
        for event in result.get_asset_materialization_events()
        for name, entry in event.step_materialization_data.materialization.metadata.items()
        if name in ("num_shards_computed", "num_files_computed")
    }


def rows(campaign):
    """Hashes of all files that hold rows or weights; other files name their folder."""
    kinds = (".parquet", ".safetensors", ".npz")
    return {name: digest for name, digest in campaign.files().items() if name.endswith(kinds)}


def test_a_campaign_on_ray_decides_as_a_local_one(new_campaign, finished_campaign):
    on_ray = new_campaign("on-ray", shards=ON_RAY)
    on_ray.run("curate_pool", "release_models", "refresh_leaderboard")
    assert not ray.is_initialized()
    assert (on_ray.root / ".store_id").exists()  # Left by the executor of Ray only.
    assert shards_computed(on_ray) == shards_computed(finished_campaign)
    assert min(shards_computed(on_ray)[name] for name in ("raw_pool", "clean_pool")) > 1

    versions = on_ray.data_versions()
    assert len(versions) > 30
    assert versions == finished_campaign.data_versions()
    assert len(rows(on_ray)) > 100
    assert rows(on_ray) == rows(finished_campaign)
    decided, local = (
        campaign.frame(campaign.ref("consistency_filtered_subset").kept)
        for campaign in (on_ray, finished_campaign)
    )
    assert decided.equals(local)

    # The same store without Ray: nothing is worked on again.
    afterwards = new_campaign("on-ray").run("curate_pool")
    assert set(shards_computed(afterwards).values()) == {0}
    assert afterwards.data_versions().items() <= versions.items()
