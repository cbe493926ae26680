"""Profiles of older versions: what nobody obeyed is taken out, everything else stays as it is."""

import tomllib
from importlib.resources import files

import pytest

from synpref_dagster.cli.upgrade.profiles import profile_changes
from synpref_dagster.settings.profile import load_profile, packaged_profiles

SMOKE = (files("synpref_dagster.settings") / "profiles" / "smoke.toml").read_text(encoding="utf-8")


@pytest.fixture
def profile(tmp_path):
    def write(*edits):
        text = SMOKE
        for old, new in edits:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "own.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", packaged_profiles())
def test_packaged_profiles_need_nothing(name):
    assert profile_changes(name) == []


def test_what_nobody_obeyed_is_taken_out_and_no_other_line_changes(profile):
    release = '[release]\nbackend = "stand_in"\n'
    path = profile(
        (release, release + 'model_size = "qwen3-0.6b"  # as ever\nnum_final_steps = 3\n'),
        ("[reward_model]\n", "[reward_model]\nnum_final_steps = 7\n"),
    )
    [change] = profile_changes(str(path))
    assert change.says == (
        "takes out reward_model.num_final_steps, release.model_size, release.num_final_steps: "
        "accepted once, and never obeyed"
    )
    assert change.copied == (path,)
    change.act()
    assert path.read_text() == SMOKE
    assert profile_changes(str(path)) == []


def test_a_setting_that_another_one_makes_useless_is_taken_out(profile):
    path = profile(("[seed_set]\n", "[pool.pii]\ndrop_level = 3\n\n[seed_set]\n"))
    [change] = profile_changes(str(path))
    assert "pool.pii.drop_level" in change.says
    change.act()
    assert load_profile(str(path)) == load_profile("smoke")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[seed_set]\n", "[seed_set]\nnum_golden = 3\n", "seed_set.num_golden"),
        ("[reward_model]\n", "[reward_model]\nlerning_rate = 1.0\n", "lerning_rate"),
    ],
    ids=["unknown", "a typo"],
)
def test_what_no_version_accepted_is_for_people_to_correct(profile, old, new, named):
    path = profile((old, new))
    [change] = profile_changes(str(path))
    assert change.is_hindrance
    assert change.act is None
    assert named in change.says
    assert "\n" not in change.says


def test_a_setting_on_a_line_with_others_is_for_people_to_take_out(tmp_path):
    values = tomllib.loads(SMOKE)
    inline = ", ".join(f"{k} = {v!r}" for k, v in values["release"].items())
    head = SMOKE.split("[release]")[0]
    path = tmp_path / "own.toml"
    path.write_text(f"release = {{ {inline}, num_final_steps = 3 }}\n{head}")
    [change] = profile_changes(str(path))
    assert change.is_hindrance
    assert "num_final_steps" in change.says
