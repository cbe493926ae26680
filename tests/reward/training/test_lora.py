from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from synpref_dagster.reward.attention.padded import padded_rewards
from synpref_dagster.reward.scoring import RewardModel
from synpref_dagster.reward.training.lora import add_lora, merged_weights
from synpref_dagster.reward.training.run import TrainingConfig, train_reward_model

CONFIG = TrainingConfig(max_steps=30, batch_pairs=16, lora_rank=4, learning_rate=5e-3)


def test_a_fresh_update_changes_nothing_and_merges_to_the_backbone(qwen_stand_in, random_units):
    model = AutoModelForSequenceClassification.from_pretrained(qwen_stand_in).eval()
    sequences = [ids % model.config.vocab_size for ids in random_units[1][:4]]
    before = dict(model.state_dict())
    expected = padded_rewards(model, sequences)
    add_lora(model, rank=2, scale=1.0, seed=0)
    assert torch.equal(padded_rewards(model, sequences), expected)
    merged = merged_weights(model)
    assert merged.keys() == before.keys()
    assert all(torch.equal(merged[name], before[name]) for name in before)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert "score.weight" in trained
    assert all("up" in name or "down" in name for name in trained - {"score.weight"})


def test_the_published_model_is_whole_with_its_trained_head(tmp_path, qwen_stand_in, pairs, gold):
    report = train_reward_model(
        pairs, gold, backbone_path=str(qwen_stand_in), config=CONFIG, output_dir=tmp_path
    )
    start = load_file(qwen_stand_in / "model.safetensors")
    end = load_file(tmp_path / "model.safetensors")
    assert start.keys() == end.keys()
    assert not torch.equal(start["score.weight"], end["score.weight"])
    assert torch.equal(start["model.embed_tokens.weight"], end["model.embed_tokens.weight"])
    model = RewardModel.load(tmp_path)
    conversations = [pair.conversation for pair in gold]
    chosen = model.rewards(conversations, [pair.chosen for pair in gold])
    rejected = model.rewards(conversations, [pair.rejected for pair in gold])
    assert (chosen > rejected).mean() == pytest.approx(report.evaluation.accuracy)
    assert report.losses[-1] < report.losses[0]


def test_lora_and_shards_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        replace(CONFIG, sharded=True)
