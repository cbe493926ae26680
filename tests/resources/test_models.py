"""What a profile says about reward models arrives at what trains them, and MLflow says the same."""

import json
import logging
from dataclasses import asdict
from types import SimpleNamespace
from typing import get_args

import dagster as dg
import pytest
from pydantic import ValidationError

from synpref_dagster.pairs import progress
from synpref_dagster.pairs.progress import StepsTaken, TimeExpected, progress_of
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources import models
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.torchrun import launch
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.resources.tracking.step import flattened
from synpref_dagster.reward import from_profile, stand_ins
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.folders import publish
from synpref_dagster.reward.frozen import model as frozen_model
from synpref_dagster.reward.linear import model
from synpref_dagster.reward.linear.model import LinearConfig
from synpref_dagster.reward.stand_ins import make_stand_in
from synpref_dagster.reward.training import forecast, run
from synpref_dagster.settings.models import (
    FocalLoss,
    FrozenReleaseSettings,
    FrozenSettings,
    HubReleaseSettings,
    HubSettings,
    LinearSettings,
    LoraSettings,
    MarginLoss,
    PlainLoss,
    ReleaseSettings,
    RewardModelSettings,
    StandInReleaseSettings,
    StandInSettings,
    TemperatureLoss,
    TemperedLogLoss,
)
from synpref_dagster.settings.profile import Profile, load_profile
from synpref_dagster.storage import DatasetRef

SIZE = "qwen3-1.7b"  # released in these tests
VOCABULARY = DatasetRef(uri="pool", fingerprint="v" * 32, num_rows=0)
MEMBERS = {
    "reward_model": get_args(get_args(RewardModelSettings)[0]),
    "release": get_args(get_args(ReleaseSettings)[0]),
}
LOSSES = (PlainLoss, TemperatureLoss, FocalLoss, MarginLoss, TemperedLogLoss)
# Another value of every setting, and what of the training it must change. A new setting needs one.
OTHER = {
    "learning_rate": (7e-4, "config.learning_rate"),
    "batch_pairs": (7, "config.batch_pairs"),
    "num_steps": (11, "config.max_steps"),
    "num_epochs": (3, "config.num_epochs"),
    "schedule": ("cosine", "config.schedule"),
    "loss": ({"name": "cross_entropy"}, "config.loss"),
    "lora": ({"rank": 3}, "config.lora"),
    "evaluate_every_steps": (9, "config.evaluate_every_steps"),
    "num_processes": (2, "num_processes"),
    "model_size": ("llama-3.2-1b", "backbone"),
    "max_length_tokens": (77, "config.max_length_tokens"),
    "gradient_checkpointing": (False, "config.gradient_checkpointing"),
    "layers": ((3, 5), "config.layers"),
    "poolings": (("last",), "config.poolings"),
    "penalties": ((2.0,), "config.penalties"),
    "dtype": ("float32", "config.dtype"),
    "backbone": ("/models/mine", "backbone"),
    "backbones": ({SIZE: "/models/mine"}, "backbone"),
    "centre_coefficient": (0.25, "config.loss.centre_coefficient"),
    "temperature": (3.0, "config.loss.temperature"),
    "focal_gamma": (1.0, "config.loss.focal_gamma"),
    "target_margin": (2.0, "config.loss.target_margin"),
    "tempering": (0.25, "config.loss.tempering"),
    "rank": (5, "config.lora.rank"),
    "alpha": (3, "config.lora.alpha"),
    "target_modules": (("q_proj",), "config.lora.target_modules"),
}
CASES = [
    (section, member, name)
    for section, members in MEMBERS.items()
    for member in members
    for name in member.model_fields
    if name != "backend"
]


class Arrived(Exception):
    """Ends a training before it begins."""


@pytest.fixture
def trained_with(monkeypatch, tmp_path):
    """Gives what a section's models would be trained with."""
    monkeypatch.setattr(Campaign, "texts", lambda *_: VOCABULARY)
    monkeypatch.setattr(Campaign, "pairs", lambda *_: [])
    monkeypatch.setattr(stand_ins, "make_stand_in", lambda *_, **__: None)

    def seen(num_processes, **arguments):
        raise Arrived({"num_processes": num_processes, **arguments})

    monkeypatch.setattr(run, "train_reward_model", lambda *_, **told: seen(1, **told))
    monkeypatch.setattr(
        launch, "train_with_torchrun", lambda _, workers, *__, **told: seen(workers, **told)
    )
    monkeypatch.setattr(model, "train_linear_reward_model", lambda *_, **told: seen(1, **told))
    # What "auto" is depends on the machine; here it is never what a test sets instead.
    monkeypatch.setattr(from_profile, "reading_dtype", lambda: "bfloat16")
    monkeypatch.setattr(RewardModels, "_frozen", lambda _, row, config: (row.hub_id, config))
    monkeypatch.setattr(
        frozen_model,
        "train_frozen_reward_model",
        lambda *_, reader, **told: seen(1, backbone_path=reader, **told),
    )

    def arrived(section, table):
        profile = Profile.model_validate({**load_profile("smoke").model_dump(), section: table})
        campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))
        with pytest.raises(Arrived) as caught:
            RewardModels(campaign=campaign).train(
                "model",
                [],
                [],
                vocabulary=VOCABULARY,
                context=dg.build_asset_context(),
                model_size=SIZE if section == "release" else None,
            )
        told = caught.value.args[0]
        flat = {f"config.{name}": value for name, value in flattened(asdict(told["config"]))}
        if told.get("backbone_path"):
            flat["backbone"] = told["backbone_path"]
        return {**flat, "num_processes": told["num_processes"], "folder": told["output_dir"].name}

    return arrived


def changed(before, after):
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def has_arrived(changes, place):
    return any(name == place or name.startswith(f"{place}.") for name in changes)


@pytest.mark.parametrize(
    ("section", "member", "name"), CASES, ids=[f"{s}-{m.__name__}-{n}" for s, m, n in CASES]
)
def test_every_setting_of_every_backend_arrives_at_the_training(
    trained_with, section, member, name
):
    backend = {"backend": get_args(member.model_fields["backend"].annotation)[0]}
    value, place = OTHER[name]
    before = trained_with(section, backend)
    after = trained_with(section, {**backend, name: value})
    changes = changed(before, after)
    assert has_arrived(changes, place), changes
    assert "folder" in changes  # another checkpoint
    if name in ("loss", "lora", "model_size", "backbones"):
        return
    expected = {"backbone": "/models/mine"}.get(name, value)
    assert after[place] == expected
    allowed = {place, "folder", "config.sharded", "config.save_every_steps"}
    assert changes <= allowed, changes


@pytest.mark.parametrize("backend", ["stand_in", "hub"])
@pytest.mark.parametrize(
    ("loss", "chosen", "name"),
    [
        (member, chosen, name)
        for member in LOSSES
        for chosen in get_args(member.model_fields["name"].annotation)
        for name in member.model_fields
        if name != "name"
    ],
)
def test_every_constant_of_every_loss_arrives(trained_with, backend, loss, chosen, name):
    value, place = OTHER[name]
    before = trained_with("release", {"backend": backend, "loss": chosen})
    after = trained_with("release", {"backend": backend, "loss": {"name": chosen, name: value}})
    assert before["config.loss.name"] == after["config.loss.name"] == chosen
    assert changed(before, after) == {place, "folder"}
    assert after[place] == value


@pytest.mark.parametrize("backend", ["stand_in", "hub"])
@pytest.mark.parametrize("name", LoraSettings.model_fields)
def test_every_setting_of_lora_arrives(trained_with, backend, name):
    value, place = OTHER[name]
    before = trained_with("release", {"backend": backend, "lora": {"rank": 2}})
    after = trained_with("release", {"backend": backend, "lora": {"rank": 2, name: value}})
    assert after[place] == value
    assert before["config.lora.alpha"] == 4
    assert place in changed(before, after)


FOREIGN = [
    (section, member, name)
    for section, members in MEMBERS.items()
    for member in members
    for name in sorted({name for _, _, name in CASES} - set(member.model_fields))
]


@pytest.mark.parametrize(
    ("section", "member", "name"), FOREIGN, ids=[f"{s}-{m.__name__}-{n}" for s, m, n in FOREIGN]
)
def test_every_setting_of_other_backends_is_refused(section, member, name):
    [backend] = get_args(member.model_fields["backend"].annotation)
    table = {"backend": backend, name: OTHER[name][0]}
    with pytest.raises(ValidationError, match=f"backend '{backend}' has no setting '{name}'"):
        Profile.model_validate({**load_profile("smoke").model_dump(), section: table})


def test_no_member_of_a_union_is_forgotten_here():
    assert {*MEMBERS["reward_model"], *MEMBERS["release"]} == {
        StandInSettings,
        LinearSettings,
        HubSettings,
        FrozenSettings,
        StandInReleaseSettings,
        HubReleaseSettings,
        FrozenReleaseSettings,
    }
    used = {name for _, _, name in CASES}
    nested = {name for loss in LOSSES for name in loss.model_fields} - {"name"}
    assert set(OTHER) == used | nested | set(LoraSettings.model_fields)


def test_hub_takes_the_numbers_of_the_paper_unless_told_otherwise(trained_with):
    stage = trained_with("reward_model", {"backend": "hub", "model_size": "llama-3.1-8b"})
    assert stage["backbone"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert (stage["config.learning_rate"], stage["config.batch_pairs"]) == (1e-6, 256)
    assert stage["config.schedule"] == "linear"
    release = trained_with("release", {"backend": "hub"})
    assert (release["config.learning_rate"], release["config.batch_pairs"]) == (3e-6, 10_240)
    assert release["config.schedule"] == "constant"
    assert release["config.max_length_tokens"] == 16_384


def test_updates_of_low_rank_are_replicated_and_whole_backbones_sharded(trained_with):
    whole = trained_with("release", {"backend": "hub", "num_processes": 2})
    updates = trained_with("release", {"backend": "hub", "num_processes": 2, "lora": {"rank": 2}})
    assert (whole["config.sharded"], updates["config.sharded"]) == (True, False)


def test_the_backbone_of_another_size_leaves_a_checkpoint_alone(trained_with):
    plain = trained_with("release", {"backend": "hub"})
    other = trained_with("release", {"backend": "hub", "backbones": {"qwen3-8b": "/models/8b"}})
    assert other == plain


WORDS = ("red", "green", "blue", "black", "white", "grey", "pink", "brown")


def colour_pairs(num_pairs):
    return [
        PreferencePair(
            conversation=({"role": "user", "content": f"name the colour {WORDS[i % 8]}"},),
            chosen=f"it is {WORDS[i % 8]}",
            rejected=f"it is {WORDS[(i + 3) % 8]}",
            source="colours",
            origin="human",
        )
        for i in range(num_pairs)
    ]


@pytest.fixture
def shown(tmp_path):
    """Trains one model of the stages; gives MLflow's parameters and the checkpoint's own record."""
    texts = [*WORDS, "name the colour it is"]
    make_stand_in(backbone("qwen3-0.6b"), output_dir=tmp_path / "mine", seed=0, texts=texts)
    tracking = MlflowTracking(
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        experiment="tests",
        campaign="one",
        artifact_root=str(tmp_path / "artifacts"),
    )

    def train(table):
        smoke = load_profile("smoke").model_dump()
        profile = Profile.model_validate({**smoke, "reward_model": table})
        campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))
        found = SimpleNamespace()

        @dg.asset
        def model(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> None:
            with tracking.step(context) as step:
                trained = RewardModels(campaign=campaign).train(
                    "model", colour_pairs(24), [], vocabulary=VOCABULARY, context=context
                )
                trained.track(step)
            found.run_id, found.folder = step.run_id, trained.folder

        assert dg.materialize([model], resources={"tracking": tracking}).success
        parameters = dict(tracking._client().get_run(found.run_id).data.params)
        return parameters, json.loads((found.folder / "training.json").read_text())["config"]

    return train


def as_parameters(config):
    return {name: str(value) for name, value in flattened(config) if value is not None}


def test_mlflow_shows_of_a_hub_run_the_configuration_that_trained(shown, tmp_path):
    parameters, trained = shown(
        {
            "backend": "hub",
            "backbone": str(tmp_path / "mine"),
            "learning_rate": 1e-3,
            "batch_pairs": 8,
            "num_steps": 2,
            "max_length_tokens": 64,
            "schedule": "cosine",
            "loss": {"name": "hinge", "target_margin": 2.0},
            "lora": {"rank": 2},
        }
    )
    assert (trained["learning_rate"], trained["batch_pairs"], trained["max_steps"]) == (1e-3, 8, 2)
    del trained["num_epochs"]  # the steps decide
    for constant in ("temperature", "focal_gamma", "tempering"):  # of other losses
        del trained["loss"][constant]
    assert parameters == {
        **as_parameters(trained),
        "backend": "hub",
        "backbone": str(tmp_path / "mine"),
        "model_size": "qwen3-0.6b",
        "num_processes": "1",
    }


def test_mlflow_shows_of_a_linear_run_the_configuration_that_trained(shown):
    parameters, trained = shown({"backend": "linear"})
    assert trained == asdict(LinearConfig())
    assert parameters == {**as_parameters(trained), "backend": "linear"}


def told_of(records):
    return [fact for record in records if (fact := progress_of(record)) is not None]


def test_a_training_says_how_far_it_is_now_and_then(caplog, monkeypatch):
    now = [0.0]
    for each in (models, progress):
        monkeypatch.setattr(each, "time", SimpleNamespace(monotonic=lambda: now[0]))
    caplog.set_level(logging.INFO)
    on_step = models._telling(logging.getLogger("a step"), "final")
    for step, now[0] in ((7, 4.0), (8, 12.0), (9, 13.0), (10, 14.0)):  # it goes on after step 6
        on_step(step, {"num_steps": 10})
    assert told_of(caplog.records) == [
        StepsTaken("final", 8, 10, 6.0),
        StepsTaken("final", 10, 10, 3.5),
    ]


def test_a_training_of_a_few_seconds_says_nothing(caplog):
    caplog.set_level(logging.INFO)
    on_step = models._telling(logging.getLogger("a step"), "final")
    for step in (1, 2):
        on_step(step, {"num_steps": 2})
    assert not told_of(caplog.records)


def test_expected_time_is_told_of_fine_tunings_that_are_not_finished(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(forecast, "seconds_per_pair", lambda *_, **__: 0.5)
    release = {"backend": "hub", "num_steps": 4, "batch_pairs": 2}
    profile = Profile.model_validate({**load_profile("smoke").model_dump(), "release": release})
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))
    resource = RewardModels(campaign=campaign)
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": f"question {number}"},),
            chosen="a",
            rejected="b",
            source="s",
            origin="human",
        )
        for number in range(6)
    ]
    context = dg.build_asset_context()
    about = {"context": context, "model_size": SIZE, "alike": "0"}
    caplog.set_level(logging.INFO)
    wanted = {"original": pairs, "truth": pairs[:3]}
    finished = resource._plan("truth", pairs[:3], [], model_size=SIZE, alike="0").folder
    with monkeypatch.context() as here:
        here.setattr(models, "tell", lambda _, fact: told.append(fact))
        told = []
        resource.tell_expected_time(wanted, [], **about)
        publish(finished, {"report": {}})
        resource.tell_expected_time(wanted, [], **about)
        resource.tell_expected_time({"truth": pairs[:3]}, [], **about)
        resource.tell_expected_time(wanted, [], context=context, model_size=None)
    assert told == [TimeExpected(2, 16, 16 * 0.5 / 60), TimeExpected(1, 8, 8 * 0.5 / 60)]
    one, other = (
        resource._plan(name, pairs, [], model_size=SIZE, alike="0") for name in ("one", "other")
    )
    assert one.config.seed == other.config.seed
    assert one.folder != other.folder
