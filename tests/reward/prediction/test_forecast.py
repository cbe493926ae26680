"""What a profile's models take: steps, hours and memory follow from its settings."""

from dataclasses import replace

import pytest

from synpref_dagster.reward.prediction.costs import pair_load, step_memory, step_work
from synpref_dagster.reward.prediction.forecast import (
    Assumptions,
    forecast,
    labelled_pairs,
    needed_bytes,
    predict_training,
)
from synpref_dagster.reward.prediction.machines import machine
from synpref_dagster.reward.prediction.shapes import SHAPES
from synpref_dagster.reward.training.config import LoraUpdates, TrainingConfig
from synpref_dagster.settings.profile import Profile, load_profile

SMALL = load_profile("paper_small")
H200 = machine("h200")
ASSUMED = Assumptions(num_pairs=100_000, tokens_per_pair=500, machine=H200)
QWEN = SHAPES["Qwen/Qwen3-0.6B"]


def changed(section, **settings):
    told = SMALL.model_dump()
    told[section] |= settings
    return Profile.model_validate(told)


def by_name(profile, assumed=ASSUMED):
    trainings, scorings = forecast(profile, assumed)
    return {(each.what, each.size): each for each in [*trainings, *scorings]}


def test_every_training_of_a_campaign_is_there_on_as_many_pairs_as_it_has():
    found = by_name(SMALL)
    assert labelled_pairs(SMALL) == 4_000 + 12_000 + 3 * 10_000
    told = {key: (each.num_pairs, getattr(each, "num_models", 0)) for key, each in found.items()}
    assert told == {
        ("iterations", "qwen3-0.6b"): (12_000 + 3 * 6_000, 4),  # silver, before and after each
        ("gold_reward_model", "qwen3-0.6b"): (round(0.8 * 16_000), 1),
        ("flip_evidence", "qwen3-0.6b"): (8_000, 2),
        ("curation_variants", "qwen3-0.6b"): (100_000, 6),
        ("skywork_reward_v2", "qwen3-0.6b"): (100_000, 1),
        ("skywork_reward_v2", "llama-3.2-1b"): (100_000, 1),
        ("pool_rewards", "qwen3-0.6b"): (200_000, 0),
    }


def test_a_step_is_its_pairs_and_its_time_the_expected_share_of_the_device():
    release = by_name(SMALL)["skywork_reward_v2", "qwen3-0.6b"]
    assert (release.batch_pairs, release.num_steps) == (512, 196)  # 100,000 / 512
    work = step_work(QWEN, pair_load(500).times(512), checkpointing=True)
    assert release.flops_per_step == work.total
    assert release.seconds_per_step == pytest.approx(work.total / (0.4 * 989e12))
    assert release.device_hours == pytest.approx(196 * release.seconds_per_step / 3600)
    assert release.tokens_per_pack == 16_384  # that of the device asked about, not of this one


def test_hours_of_several_models_are_those_of_all_their_steps():
    iterations = by_name(SMALL)["iterations", "qwen3-0.6b"]
    steps = sum(-(-pairs // 256) for pairs in (12_000, 18_000, 24_000, 30_000))
    assert iterations.device_hours == pytest.approx(steps * iterations.seconds_per_step / 3600)


def test_memory_is_that_of_a_full_pack_and_of_the_longest_pair():
    release = by_name(changed("release", max_length_tokens=16_384))[
        "skywork_reward_v2", "qwen3-0.6b"
    ]
    how = {"dtype": "bfloat16", "checkpointing": True}
    assert release.memory == step_memory(QWEN, 16_384, **how)
    assert release.memory_of_longest == step_memory(QWEN, 2 * 16_384, **how)
    assert needed_bytes(release.memory) == pytest.approx(1.1 * release.memory.total + 1e9)


def test_settings_of_the_training_are_obeyed():
    before = by_name(SMALL)["skywork_reward_v2", "llama-3.2-1b"]
    plain = by_name(changed("release", gradient_checkpointing=False))
    after = plain["skywork_reward_v2", "llama-3.2-1b"]
    assert after.memory.activations > 4 * before.memory.activations
    assert 0.75 < after.device_hours / before.device_hours < 0.85  # a forward less
    several = by_name(changed("release", num_processes=4))["skywork_reward_v2", "llama-3.2-1b"]
    assert several.seconds_per_step == pytest.approx(before.seconds_per_step / 4)
    assert several.device_hours == pytest.approx(before.device_hours)
    assert several.memory.optimizer == before.memory.optimizer / 4  # sharded
    lora = by_name(changed("release", lora={"rank": 8}))["skywork_reward_v2", "llama-3.2-1b"]
    assert lora.memory.optimizer < 0.02 * before.memory.optimizer
    assert lora.flops_per_step < 0.8 * before.flops_per_step
    fewer = by_name(changed("release", num_steps=10))["skywork_reward_v2", "llama-3.2-1b"]
    assert fewer.num_steps == 10


def test_low_rank_updates_of_two_processes_are_replicated():
    config = TrainingConfig(lora=LoraUpdates(rank=8), device="cuda")
    alone = predict_training(QWEN, config, num_pairs=64, assumed=ASSUMED)
    both = predict_training(QWEN, config, num_pairs=64, num_devices=2, assumed=ASSUMED)
    assert both.memory == alone.memory


def test_few_pairs_make_a_small_step():
    config = TrainingConfig(batch_pairs=256, device="cuda")
    few = predict_training(QWEN, config, num_pairs=4, assumed=ASSUMED)
    assert (few.batch_pairs, few.num_steps) == (4, 1)
    assert (
        few.memory.activations
        < predict_training(QWEN, config, num_pairs=256, assumed=ASSUMED).memory.activations
    )


def test_scoring_is_one_forward_in_float32():
    scoring = by_name(SMALL)["pool_rewards", "qwen3-0.6b"]
    assert scoring.dtype == "float32"
    assert scoring.weight_bytes == 4 * QWEN.num_parameters
    assert scoring.flops_per_token == pytest.approx(2 * QWEN.num_products, rel=0.05)
    hours = 200_000 * 500 * scoring.flops_per_token / (0.4 * 67e12) / 3600
    assert scoring.device_hours == pytest.approx(hours)


def test_a_frozen_backbone_is_read_up_to_its_last_wanted_layer_and_once_for_all():
    told = SMALL.model_dump()
    told["reward_model"] = {"backend": "frozen", "model_size": "qwen3-0.6b", "layers": (14,)}
    told["release"] = {"backend": "frozen"}
    found = by_name(Profile.model_validate(told))
    assert set(found) == {("features", "qwen3-0.6b"), ("features", "llama-3.2-1b")}
    told["release"] = {"backend": "frozen", "layers": (14,), "dtype": "float32"}
    half = by_name(Profile.model_validate(told))["features", "qwen3-0.6b"]
    whole = found["features", "qwen3-0.6b"]
    assert half.flops_per_token == pytest.approx(whole.flops_per_token / 2, rel=0.05)
    assert (half.dtype, whole.dtype) == ("float32", "bfloat16")


def test_models_without_a_backbone_take_nothing():
    assert forecast(load_profile("smoke"), ASSUMED) == ([], [])


def test_the_device_that_asks_makes_no_difference(monkeypatch):
    import torch

    before = forecast(SMALL, ASSUMED)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert forecast(SMALL, ASSUMED) == before
    slower = replace(ASSUMED, machine=replace(H200, utilisation=0.2))
    assert forecast(SMALL, slower)[0][0].device_hours == 2 * before[0][0].device_hours
