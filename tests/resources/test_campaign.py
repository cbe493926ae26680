"""Whose the keys of an instance are."""

import dagster as dg
import pytest

from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def report(instance, *key, name, store="/nowhere"):
    metadata = {"profile": name, "seed": 0, "store": str(store)}
    instance.report_runless_asset_event(dg.AssetMaterialization([*key], metadata=metadata))


def refusal(instance, **settings):
    profile = load_profile("smoke").model_copy(update=settings)
    return Campaign.of(profile).refusal_to_mix(instance)


@pytest.mark.parametrize("key", [("vocabulary",), ("iteration_01", "gold"), ("people", "seed")])
def test_any_asset_of_another_campaign_is_a_reason_not_to_mix(instance, key):
    report(instance, *key, name="other")
    told = refusal(instance)
    assert told.startswith(f"{'/'.join(key)} in the Dagster instance ")
    assert "was made by another campaign, other-seed-0 in /nowhere: " in told
    assert refusal(instance, key_prefix="b") is None
    assert refusal(instance, name="other") is None


def test_keys_below_a_prefix_are_of_that_campaign_only(instance):
    report(instance, "b", "vocabulary", name="other")
    report(instance, "b", "iteration_01", "gold", name="other")
    assert refusal(instance) is None
    assert "b/iteration_01/gold" in refusal(instance, key_prefix="b")


def test_a_wiped_first_asset_gives_no_keys_away_and_who_made_it_last_has_them(instance):
    report(instance, "raw_pool", name="other")
    report(instance, "clean_pool", name="other")
    instance.wipe_assets([dg.AssetKey("raw_pool")])
    assert refusal(instance).startswith("clean_pool in ")
    report(instance, "raw_pool", name="smoke")  # under a run that takes the keys over
    assert refusal(instance) is None
    instance.wipe_assets([dg.AssetKey("raw_pool"), dg.AssetKey("clean_pool")])
    assert refusal(instance) is None


def test_the_latest_of_several_decides_and_assets_of_other_projects_do_not(instance):
    report(instance, "vocabulary", name="smoke")
    report(instance, "clean_pool", name="other")
    instance.report_runless_asset_event(dg.AssetMaterialization("sales", metadata={"seed": 3}))
    assert refusal(instance).startswith("clean_pool in ")
    report(
        instance, "vocabulary", name="smoke", store=Campaign.of(load_profile("smoke")).store_root
    )
    assert refusal(instance) is None


def test_a_moved_store_without_a_raw_pool_is_still_a_campaign(instance, tmp_path):
    report(instance, "vocabulary", name="smoke", store=tmp_path)
    assert refusal(instance) is None
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "vocabulary.json").write_text("{}")
    assert f"smoke-seed-0 in {tmp_path}: " in refusal(instance)
