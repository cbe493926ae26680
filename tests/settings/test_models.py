"""`[reward_model]` and `[release]`: each backend takes what it obeys and nothing else."""

from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from synpref_dagster.cli.refusals import problems
from synpref_dagster.reward.backbones import MODEL_SIZES
from synpref_dagster.reward.training.config import Schedule
from synpref_dagster.reward.training.losses import Loss, LossConfig
from synpref_dagster.settings.models import (
    FIRST_FORM,
    HubReleaseSettings,
    HubSettings,
    LinearSettings,
    LossSettings,
    ModelSize,
    StandInReleaseSettings,
    StandInSettings,
    TransformerSettings,
    key_material,
)
from synpref_dagster.settings.profile import Profile, load_profile

SMOKE = load_profile("smoke").model_dump()
LOSS = TypeAdapter(LossSettings)


def with_section(name, table):
    return Profile.model_validate({**SMOKE, name: table})


def refusal(name, table):
    with pytest.raises(ValidationError) as caught:
        with_section(name, table)
    [line] = problems(caught.value)
    return line.strip()


@pytest.mark.parametrize(
    ("name", "table", "kind"),
    [
        ("reward_model", {"backend": "stand_in"}, StandInSettings),
        ("reward_model", {"backend": "linear"}, LinearSettings),
        ("reward_model", {"backend": "hub"}, HubSettings),
        ("release", {"backend": "stand_in"}, StandInReleaseSettings),
        ("release", {"backend": "hub"}, HubReleaseSettings),
    ],
)
def test_the_backend_decides_which_settings_there_are(name, table, kind):
    profile = with_section(name, table)
    assert type(getattr(profile, name)) is kind
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


@pytest.mark.parametrize(
    ("name", "table", "line"),
    [
        (
            "reward_model",
            {"backend": "linear", "learning_rate": 1e-3},
            "reward_model: backend 'linear' has no setting 'learning_rate', 'stand_in' or 'hub' "
            "would obey it. Take it out; 'linear' obeys nothing else",
        ),
        (
            "reward_model",
            {"backend": "stand_in", "num_final_steps": 3},
            "reward_model: backend 'stand_in' has no setting 'num_final_steps', nobody would obey "
            "it. Take it out; 'stand_in' obeys learning_rate, batch_pairs, num_steps, schedule, "
            "loss, lora, evaluate_every_steps, num_processes, model_size",
        ),
        (
            "release",
            {"backend": "stand_in", "max_length_tokens": 64},
            "release: backend 'stand_in' has no setting 'max_length_tokens', 'hub' would obey it. "
            "Take it out; 'stand_in' obeys learning_rate, batch_pairs, num_steps, schedule, loss, "
            "lora, evaluate_every_steps, num_processes",
        ),
        (
            "reward_model",
            {"backend": "forest"},
            "reward_model: backend is 'forest': choose 'stand_in' or 'linear' or 'hub'",
        ),
        (
            "reward_model",
            {},
            "reward_model: backend is missing: choose 'stand_in' or 'linear' or 'hub'",
        ),
        (
            "release",
            {"backend": "linear"},
            "release: backend is 'linear': choose 'stand_in' or 'hub', whose checkpoints are "
            "folders that transformers can load",
        ),
        (
            "release",
            {"backend": "hub", "loss": {"name": "hinge", "temperature": 2.0}},
            "release.loss: name 'hinge' has no setting 'temperature', 'temperature' would obey it. "
            "Take it out; 'hinge' obeys centre_coefficient, target_margin",
        ),
        (
            "release",
            {"backend": "hub", "num_steps": 3, "num_epochs": 2},
            "release: num_steps and num_epochs are both set: take one of them out",
        ),
    ],
)
def test_what_a_backend_does_not_obey_is_refused_in_one_line(name, table, line):
    assert refusal(name, table) == line


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"backend": "stand_in", "learning_rate": 0}, "release.learning_rate: "),
        ({"backend": "hub", "loss": {"name": "focal", "focal_gamma": -1}}, "release.loss.focal_ga"),
        ({"backend": "hub", "backbones": {"gemma-2-27b": "x"}}, "release.backbones.gemma-2-27b"),
        ({"backend": "hub", "lora": {"rank": 0}}, "release.lora.rank: "),
    ],
)
def test_an_error_is_placed_where_it_stands_in_the_profile(table, place):
    assert refusal("release", table).startswith(place)


def test_the_choices_are_those_of_the_engine():
    assert get_args(ModelSize) == MODEL_SIZES
    [schedules, _] = get_args(TransformerSettings.model_fields["schedule"].annotation)
    assert set(get_args(schedules)) == set(Schedule)
    for name in Loss:  # by its name alone, with the engine's constants
        loss = LOSS.validate_python(str(name))
        assert LossConfig(**loss.model_dump()) == LossConfig(name=name)
    with pytest.raises(ValidationError, match="choose 'bradley_terry' or"):
        LOSS.validate_python("hing")


def test_a_key_has_the_form_of_the_first_version_whatever_settings_there_are():
    for kind in (StandInSettings, HubSettings, StandInReleaseSettings, HubReleaseSettings):
        backend = get_args(kind.model_fields["backend"].annotation)[0]
        assert key_material(kind(backend=backend)) == {**FIRST_FORM, "backend": backend}
    assert key_material(LinearSettings(backend="linear")) == {**FIRST_FORM, "backend": "linear"}
    told = StandInSettings(backend="stand_in", num_steps=3, loss={"name": "hinge"})
    assert key_material(told) == {
        **FIRST_FORM,
        "backend": "stand_in",
        "num_steps": 3,
        "loss": {"name": "hinge"},
    }


@pytest.mark.parametrize(
    "place", ["Qwen/Qwen3-0.6B", "gpt2", "/models/qwen3", "./qwen3", "~/qwen3", "a/b/c", "o/n_1.x"]
)
def test_a_backbone_is_a_folder_or_an_id_of_the_hub(place):
    assert HubSettings(backend="hub", backbone=place).backbone == place


@pytest.mark.parametrize(
    "place",
    ["Qwen/Qwen3 0.6B", "Qwen:Qwen3", "https:Qwen", "Qwen/", "-x/y", "a--b/c", "Qwen/..", "Q\nn"],
)
def test_what_is_neither_a_folder_nor_an_id_is_refused_when_it_is_read(place):
    with pytest.raises(ValidationError, match="neither a folder nor a hub id"):
        HubSettings(backend="hub", backbone=place)
    with pytest.raises(ValidationError, match="neither a folder nor a hub id"):
        HubReleaseSettings(backend="hub", backbones={"qwen3-4b": place})
