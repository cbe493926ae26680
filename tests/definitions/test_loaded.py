"""A tick judges by the profile as its file says now, and says when only a reload helps."""

from importlib.resources import files

import dagster as dg
import pytest

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.definitions.loaded import LoadedProfile
from synpref_dagster.settings.profile import load_profile


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    text = (files("synpref_dagster.settings") / "profiles" / "smoke.toml").read_text()
    place = tmp_path / "own.toml"
    place.write_text(text.replace("[filtering]\n", "[filtering]\nguard_floor = 0.6\n"))
    return place


@pytest.fixture
def loaded(path):
    return LoadedProfile(profile=load_profile(str(path)), name=str(path), build=build_defs)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_changed_setting_is_heeded_without_a_reload(loaded, path, instance):
    assert loaded.tick(instance).profile.filtering.guard_floor == 0.6
    change(path, "guard_floor = 0.6", "guard_floor = 0.9")
    assert loaded.tick(instance).profile.filtering.guard_floor == 0.9
    assert loaded.profile.filtering.guard_floor == 0.6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_iterations = 1", "num_iterations = 2"),
        ('name = "smoke"', 'name = "smoke"\nkey_prefix = "own"'),
        ("[filtering]", '[people]\nbackend = "page"\n\n[filtering]'),
        ("[pool]", '[pool]\npii = {action = "drop"}'),
        ("[pool]", '[pool]\npii = {action = "off"}'),
        ("[pool]", "[pool]\nnear_duplicates = {in_campaign = true}"),
        ('human_policy = "judge_disagreement"', 'human_policy = "objective_first"'),
    ],
)
def test_other_assets_jobs_or_sensors_need_a_reload_and_a_tick_says_so(
    loaded, path, instance, old, new
):
    change(path, old, new)
    said = loaded.tick(instance)
    assert isinstance(said, dg.SkipReason)
    assert "than when its code location was loaded: reload the code location" in said.skip_message
    change(path, new, old)
    assert not isinstance(loaded.tick(instance), dg.SkipReason)


@pytest.mark.parametrize("broken", ["guard_floor = oops", "guard_floor = 7", "guard_flor = 0.6"])
def test_a_file_that_cannot_be_read_holds_ticks_up_in_one_line(loaded, path, instance, broken):
    change(path, "guard_floor = 0.6", broken)
    said = loaded.tick(instance)
    assert said.skip_message.startswith(f"the profile {path} cannot be read as it is now: ")
    assert "\n" not in said.skip_message
    path.unlink()
    assert "does not exist" in loaded.tick(instance).skip_message


def test_a_profile_made_in_code_is_as_it_was(instance):
    profile = load_profile("smoke")
    assert (
        LoadedProfile(profile=profile, name=None, build=build_defs).tick(instance).profile
        == profile
    )


def test_where_another_campaign_owns_the_keys_no_tick_asks_for_a_run(loaded, instance):
    other = dg.AssetMaterialization("raw_pool", metadata={"profile": "demo", "seed": 0})
    instance.report_runless_asset_event(other)
    assert "was made by another campaign, demo-seed-0" in loaded.tick(instance).skip_message
