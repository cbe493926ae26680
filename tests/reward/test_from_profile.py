"""The keys of models that profiles name."""

import pytest

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.backbones import Backbone, backbone
from synpref_dagster.reward.from_profile import (
    backbones_read,
    checkpoint_key,
    configuration,
    logged,
    stages_size,
    start_of,
)
from synpref_dagster.settings.models import FrozenReleaseSettings, HubReleaseSettings
from synpref_dagster.settings.profile import Profile, load_profile

PAIR = PreferencePair(
    conversation=({"role": "user", "content": "a"},),
    chosen="b",
    rejected="c",
    source="s",
    origin="human",
)
# Of the code before settings were unions: a store that it wrote is read on.
FIRST_KEYS = {
    "smoke": ("06a941e88ecb95b8", "474fad2d13c7d515"),
    "demo": ("06f123c9606f097a", "27aa57e363886a8d"),
    "paper": ("6e1edf1ae871a3cb", "0d4198952f2c0ba2"),
}


def test_a_linear_model_keeps_its_key():
    smoke = load_profile("smoke").model_dump()
    settings = Profile.model_validate({**smoke, "reward_model": {"backend": "linear"}}).reward_model
    row = backbone(stages_size(settings))
    assert checkpoint_key([PAIR], [], settings=settings, row=row, seed=1) == "cbabc13fdec824ff"


@pytest.mark.parametrize("name", FIRST_KEYS)
def test_checkpoints_of_the_packaged_profiles_keep_their_keys(name):
    profile = load_profile(name)
    keys = [
        checkpoint_key([PAIR], [], settings=settings, row=backbone(size), seed=1)
        for settings, size in (
            (profile.reward_model, stages_size(profile.reward_model)),
            (profile.release, "qwen3-0.6b"),
        )
    ]
    assert tuple(keys) == FIRST_KEYS[name]


OWN = Backbone(
    model_size="own",
    hub_id="own/model",
    licence="",
    pad_token=None,
    revision="v1",
    gguf_file="a.gguf",
)


def test_a_place_given_in_a_row_s_stead_is_taken_as_it_is():
    given = HubReleaseSettings(backend="hub", backbones={"own": "/models/other"})
    start = start_of(given, OWN)
    assert (start.hub_id, start.origin()) == ("/models/other", {})
    for settings in (HubReleaseSettings(backend="hub"), FrozenReleaseSettings(backend="frozen")):
        assert start_of(settings, OWN) is OWN
    config = configuration(given, OWN, final=True, seed=0)
    shown = logged(HubReleaseSettings(backend="hub"), OWN, config)
    assert [shown[name] for name in ("backbone", "revision", "gguf_file")] == [
        *("own/model", "v1", "a.gguf")
    ]
    assert "revision" not in logged(given, OWN, config)


def test_the_backbones_that_a_campaign_begins_with_are_each_named_once():
    read = backbones_read(load_profile("paper"), ["qwen3-4b", "llama-3.1-8b"])
    assert [row.model_size for row in read] == ["llama-3.1-8b", "qwen3-4b"]
    assert backbones_read(load_profile("smoke"), ["qwen3-0.6b"]) == []
