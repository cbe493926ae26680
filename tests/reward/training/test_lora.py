from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from synpref_dagster.reward.attention.forward import Mode, verified_forward
from synpref_dagster.reward.attention.padded import padded_rewards
from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.reward.scoring import RewardModel
from synpref_dagster.reward.training.lora import add_lora, merged_weights
from synpref_dagster.reward.training.run import LoraUpdates, TrainingConfig, train_reward_model

LORA = LoraUpdates(rank=4)
CONFIG = TrainingConfig(
    max_steps=30, batch_pairs=16, lora=LORA, learning_rate=5e-3, evaluate_every_steps=10
)


@pytest.fixture
def model(stand_in):
    return AutoModelForSequenceClassification.from_pretrained(stand_in).eval()


@pytest.fixture
def sequences(model, random_units):
    return [ids % model.config.vocab_size for ids in random_units[1][:4]]


def disturb(model):
    """Give the updates, which start at zero, other weights."""
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)


def test_a_fresh_update_changes_nothing_and_merges_to_the_backbone(model, sequences):
    before = dict(model.state_dict())
    expected = padded_rewards(model, sequences)
    add_lora(model, LORA, seed=0)
    assert torch.equal(padded_rewards(model, sequences), expected)
    merged = merged_weights(model)
    assert merged.keys() == before.keys()
    assert all(torch.equal(merged[name], before[name]) for name in before)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    heads = {name for name in trained if name.startswith("score.")}
    assert len(heads) == 1
    assert all(".lora_" in name for name in trained - heads)


def test_merging_leaves_the_model_as_it_was_and_gives_its_rewards(model, sequences, stand_in):
    add_lora(model, LORA, seed=0)
    disturb(model)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    merged = merged_weights(model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    plain = AutoModelForSequenceClassification.from_pretrained(stand_in).eval()
    expected = padded_rewards(model, sequences)
    assert not torch.allclose(padded_rewards(plain, sequences), expected, atol=1e-2)
    plain.load_state_dict(merged)
    torch.testing.assert_close(padded_rewards(plain, sequences), expected, rtol=1e-4, atol=1e-4)


def test_peft_takes_the_fast_forward_of_packs(model):
    add_lora(model, LORA, seed=0)
    disturb(model)
    assert verified_forward(model).mode is Mode.TREE_LAST_LAYER


def test_the_seed_decides_the_first_updates(stand_in):
    firsts = []
    for seed in (0, 0, 1):
        model = AutoModelForSequenceClassification.from_pretrained(stand_in)
        add_lora(model, LORA, seed=seed)
        firsts.append(dict(model.named_parameters()))
    same = [torch.equal(firsts[0][n], firsts[1][n]) for n in firsts[0] if "lora_A" in n]
    other = [torch.equal(firsts[0][n], firsts[2][n]) for n in firsts[0] if "lora_A" in n]
    assert all(same)
    assert not any(other)


def test_updates_begin_as_small_noise_times_zero_and_draw_from_a_seed_of_their_own(model):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    add_lora(model, LORA, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    first = {n: w for n, w in model.named_parameters() if "lora_A" in n}
    second = {n: w for n, w in model.named_parameters() if "lora_B" in n}
    assert len(first) == len(second) > 0
    assert all(not weight.any() for weight in second.values())
    for weight in first.values():
        # Uniform within 1 / sqrt(fan in): what a linear layer starts with.
        bound = weight.shape[1] ** -0.5
        assert 0.5 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_only_the_named_layers_are_updated_and_unknown_ones_refused(model):
    with pytest.raises(ValueError, match=r"called \['q_prj'\]; choose from .*q_proj"):
        add_lora(model, LoraUpdates(rank=2, target_modules=("q_prj", "v_proj")), seed=0)
    for no_linear_layer in ("", "self_attn", "embed_tokens", "0"):
        with pytest.raises(ValueError, match=r"choose from .*v_proj"):
            add_lora(model, LoraUpdates(rank=2, target_modules=(no_linear_layer,)), seed=0)
    add_lora(model, LoraUpdates(rank=2, target_modules=("v_proj",)), seed=0)
    updated = {name for name, _ in model.named_parameters() if ".lora_" in name}
    assert updated
    assert all(".v_proj." in name for name in updated)


def test_the_published_model_is_whole_with_its_trained_head(tmp_path, qwen_stand_in, pairs, gold):
    report = train_reward_model(
        pairs, gold, backbone_path=str(qwen_stand_in), config=CONFIG, output_dir=tmp_path
    )
    start = load_file(qwen_stand_in / "model.safetensors")
    end = load_file(tmp_path / "model.safetensors")
    assert start.keys() == end.keys()
    assert not torch.equal(start["score.weight"], end["score.weight"])
    assert torch.equal(start["model.embed_tokens.weight"], end["model.embed_tokens.weight"])
    assert sorted(each.name for each in tmp_path.iterdir() if "adapter" in each.name) == []
    model = RewardModel.load(tmp_path)
    conversations = [pair.conversation for pair in gold]
    chosen = model.rewards(conversations, [pair.chosen for pair in gold])
    rejected = model.rewards(conversations, [pair.rejected for pair in gold])
    assert (chosen > rejected).mean() == pytest.approx(report.evaluation.accuracy)
    assert report.losses[-1] < report.losses[0]


class Stopped(Exception):
    """Stands for the end of the process."""


def test_a_stopped_run_ends_with_the_same_bits(tmp_path, stand_in, pairs, gold):
    config = replace(CONFIG, max_steps=12, evaluate_every_steps=5, save_every_steps=2)

    def train(name, stop_at=None):
        def on_step(step, metrics):
            if step == stop_at:
                raise Stopped

        return train_reward_model(
            pairs,
            gold,
            backbone_path=str(stand_in),
            config=config,
            output_dir=tmp_path / name,
            on_step=on_step,
        )

    straight = train("straight")
    for step in (3, 8):
        with pytest.raises(Stopped):
            train("stopped", step)
    assert train("stopped") == straight
    assert folder_fingerprint(tmp_path / "stopped") == folder_fingerprint(tmp_path / "straight")


def test_lora_and_shards_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        replace(CONFIG, sharded=True)


def test_updates_are_scaled_by_two_unless_told_otherwise():
    assert LoraUpdates(rank=8).alpha == 16
    assert LoraUpdates(rank=8, alpha=4).alpha == 4
    with pytest.raises(ValueError, match="must be at least 1"):
        LoraUpdates(rank=0)
