"""The keys of models that profiles name."""

import pytest

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.from_profile import checkpoint_key, stages_size
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
