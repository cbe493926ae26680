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
    FrozenReleaseSettings,
    FrozenSettings,
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
        ("reward_model", {"backend": "frozen"}, FrozenSettings),
        ("release", {"backend": "frozen"}, FrozenReleaseSettings),
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
            "release: backend 'stand_in' has no setting 'max_length_tokens', 'hub' or 'frozen' "
            "would obey it. Take it out; 'stand_in' obeys learning_rate, batch_pairs, num_steps, "
            "schedule, loss, lora, evaluate_every_steps, num_processes",
        ),
        (
            "reward_model",
            {"backend": "forest"},
            "reward_model: backend is 'forest': choose 'stand_in' or 'linear' or 'hub' or 'frozen'",
        ),
        (
            "reward_model",
            {},
            "reward_model: backend is missing: choose 'stand_in' or 'linear' or 'hub' or 'frozen'",
        ),
        (
            "release",
            {"backend": "linear"},
            "release: backend is 'linear': choose 'stand_in' or 'hub' or 'frozen', whose "
            "checkpoints can be released",
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


OWN = {"name": "mine", "path": "./folder"}
FROZEN = {
    "reward_model": {"backend": "frozen", "model_size": "mine"},
    "release": {"backend": "frozen"},
}


def with_backbones(*rows, **sections):
    return Profile.model_validate({**SMOKE, **FROZEN, **sections, "backbones": rows})


@pytest.mark.parametrize("name", ["a..b", "all-mine", "None", "1.5"])
def test_names_that_only_look_like_words_of_sizes_and_ranges_are_fine(name):
    row, model = {**OWN, "name": name}, {**FROZEN["reward_model"], "model_size": name}
    assert with_backbones(row, reward_model=model).sizes() == (name,)


def test_the_sizes_are_the_rows_of_the_profile_or_the_eight():
    assert with_backbones(OWN, {"name": "qwen3-4b"}).sizes() == ("mine", "qwen3-4b")
    assert load_profile("smoke").sizes() == MODEL_SIZES


@pytest.mark.parametrize(
    ("rows", "sections", "said"),
    [
        ([{"name": "mine"}], {}, "'mine' names no path"),
        ([OWN, OWN], {}, "stand there twice"),
        ([{**OWN, "name": "a b"}], {}, "backbone name 'a b'"),
        ([{**OWN, "name": "a/b"}], {}, "backbone name 'a/b'"),
        ([{**OWN, "name": "a...b"}], {}, "backbone name 'a...b': give another one"),
        ([{**OWN, "name": "a...."}], {}, "backbone name 'a....': give another one"),
        ([{**OWN, "name": "all"}], {}, "backbone name 'all': give another one"),
        ([{**OWN, "name": "none"}], {}, "backbone name 'none': give another one"),
        ([{**OWN, "path": "a b c"}], {}, "neither a folder nor a hub id"),
        ([{"name": "qwen3-4b", "revision": "main"}], {}, "revision and gguf_file speak of a path"),
        (
            [{"name": "qwen3-4b"}],
            {},
            "reward_model.model_size: 'mine' is none of the sizes qwen3-4b",
        ),
        (
            [{"name": "qwen3-0.6b"}],
            {
                "reward_model": SMOKE["reward_model"] | {"model_size": "qwen3-0.6b"},
                "release": {"backend": "hub", "backbones": {"gemma-2-27b": "x"}},
            },
            "release.backbones.gemma-2-27b: 'gemma-2-27b' is none of the sizes qwen3-0.6b",
        ),
        (
            [OWN],
            {"release": SMOKE["release"]},
            "makes miniatures of the paper's eight, not of mine",
        ),
        (
            [OWN],
            {"release": {"backend": "hub", "backbones": {"qwen3-4b": "./x"}}},
            "release.backbones.qwen3-4b: 'qwen3-4b' is none of the sizes mine",
        ),
    ],
)
def test_backbones_that_nobody_could_train_are_refused_when_the_profile_is_read(
    rows, sections, said
):
    with pytest.raises(ValidationError) as caught:
        with_backbones(*rows, **sections)
    [line] = problems(caught.value)
    assert said in line
