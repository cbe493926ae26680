"""Which results are computed anew, of the campaign that is asked about."""

import json

import dagster as dg
import pytest

from synpref_dagster.cli.upgrade.results import result_changes
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.settings.profile import load_profile


@pytest.fixture
def profile(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    return load_profile("smoke")


def made(instance, name, version, profile="smoke"):
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            name, metadata={"profile": profile}, tags={"dagster/code_version": version}
        )
    )


def test_an_asset_whose_rules_are_others_is_named_with_both_versions(profile):
    now = build_defs(profile).resolve_asset_graph().get(dg.AssetKey("raw_pool")).code_version
    with dg.DagsterInstance.ephemeral() as instance:
        made(instance, "raw_pool", now)
        assert [*result_changes(profile, instance)] == []
        made(instance, "raw_pool", "0")
        made(instance, "clean_pool", "0", profile="another")
        [change] = result_changes(profile, instance)
    assert f"raw_pool (0 to {now}). What follows" in change.says
    assert "clean_pool" not in change.says
    assert change.act is None


def test_data_sets_of_another_format_are_counted(profile, tmp_path):
    for name, version in (("a", 0), ("b", 1)):
        folder = tmp_path / "store" / "smoke" / "seed-0" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"format_version": version}))
    [change] = result_changes(profile, None)
    assert change.says.startswith("1 data sets have another format than 1, for instance ")
    assert "seed-0/a:" in change.says
