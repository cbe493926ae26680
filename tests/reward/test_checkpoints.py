"""A checkpoint is read whole or refused: nothing is drawn at random in silence."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, Qwen3ForCausalLM

from synpref_dagster.reward.checkpoints import load_classifier
from synpref_dagster.reward.scoring import load_reward_model

WEIGHTS = "model.safetensors"
CONVERSATIONS = [[{"role": "user", "content": "word1 word2"}]] * 2
RESPONSES = ["word3 word4", "word20"]


@pytest.fixture(scope="module")
def reward_model(qwen_stand_in):
    """A folder that scores, its weights, and the rewards that they give."""
    weights = load_file(qwen_stand_in / WEIGHTS)
    return qwen_stand_in, weights, rewards(qwen_stand_in)


@pytest.fixture
def saved(tmp_path, reward_model):
    """Gives the folder of the model with other weights in it."""

    def save(weights):
        folder = shutil.copytree(reward_model[0], tmp_path / "model")
        kept = {name: weight.contiguous() for name, weight in weights.items()}
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
        return folder

    return save


def rewards(folder):
    return load_reward_model(folder).rewards(CONVERSATIONS, RESPONSES).tolist()


def renamed(weights, old, new):
    return {re.sub(old, new, name): weight for name, weight in weights.items()}


def without(weights, *names):
    return {name: weight for name, weight in weights.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: renamed(w, "^score", "v_head"), ["missing: score.weight;", "v_head.weight"]),
        (lambda w: renamed(w, "^score", "reward_head"), ["unknown: reward_head.weight"]),
        (lambda w: renamed(w, "^score", "score.0"), ["missing: score.weight", "score.0.weight"]),
        (lambda w: without(w, "score.weight"), ["missing: score.weight."]),
        (lambda w: without(w, "model.norm.weight"), ["missing: model.norm.weight."]),
        (lambda w: renamed(w, "^", "module."), ["missing: score.weight, ", "module.score.weight"]),
        (lambda w: renamed(w, "^model", "backbone"), ["and 7 more", "backbone.embed_tokens"]),
        (lambda w: w | {"score.bias": torch.ones(1)}, ["unknown: score.bias."]),
        (lambda w: w | {"score.weight": torch.ones(2, 80)}, ["score.weight [2, 80], not [1, 80]"]),
        (lambda w: w | {"model.norm.weight": torch.ones(3)}, ["of another shape: model.norm"]),
    ],
)
def test_scoring_refuses_missing_unknown_and_reshaped_weights_by_name(
    saved, reward_model, change, told
):
    folder = saved(change(reward_model[1]))
    with pytest.raises(ValueError, match="no reward model to score with") as refused:
        load_reward_model(folder)
    assert str(folder) in str(refused.value)
    assert all(words in str(refused.value) for words in told), refused.value
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w | {"lm_head.weight": torch.ones(36, 80)},
        lambda w: w | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(20)},
        lambda w: renamed(w, r"^model\.", "model.model."),  # transformers reads it all the same
    ],
    ids=["head of a language model", "buffers of old checkpoints", "nested once more"],
)
def test_what_has_no_part_in_a_reward_gives_no_alarm(saved, reward_model, change):
    assert rewards(saved(change(reward_model[1]))) == reward_model[2]


@pytest.mark.parametrize("layout", ["sharded", "bin"])
def test_other_files_of_the_same_weights_give_the_same_rewards(saved, reward_model, layout):
    folder = saved(reward_model[1])
    (folder / WEIGHTS).unlink()
    if layout == "bin":
        torch.save(reward_model[1], folder / "pytorch_model.bin")
    else:
        write_shards(folder, reward_model[1])
    assert rewards(folder) == reward_model[2]


def test_a_shard_without_the_head_is_refused_though_the_index_names_it(saved, reward_model):
    folder = saved(reward_model[1])
    (folder / WEIGHTS).unlink()
    write_shards(folder, reward_model[1], left_out="score.weight")
    with pytest.raises(ValueError, match=r"missing: score\.weight"):
        load_reward_model(folder)


def write_shards(folder, weights, *, left_out=""):
    place = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(weights)}
    for file in set(place.values()):
        part = {n: w for n, w in weights.items() if place[n] == file and n != left_out}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": place}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("tied", [True, False])
def test_a_training_starts_from_a_language_model_with_a_head_drawn_from_the_seed(
    tmp_path, reward_model, tied
):
    config = AutoConfig.from_pretrained(reward_model[0])
    config.tie_word_embeddings = tied
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    heads = [load_classifier(str(tmp_path), new_head_seed=seed).score.weight for seed in (7, 7, 8)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    with pytest.raises(ValueError, match=r"missing: score\.weight\. A reward model"):
        load_classifier(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: renamed(w, "^", "module."), "module.score.weight"),
        (lambda w: renamed(w, "^score", "v_head"), "unknown: v_head.weight"),
        (lambda w: without(w, "model.embed_tokens.weight"), "missing: model.embed_tokens.weight"),
        (lambda w: w | {"score.weight": torch.ones(2, 80)}, "score.weight [2, 80]"),
    ],
)
def test_a_training_does_not_start_where_more_than_the_head_is_missing(
    saved, reward_model, change, told
):
    with pytest.raises(ValueError, match=r"may lack score\.weight only") as refused:
        load_classifier(str(saved(change(reward_model[1]))), new_head_seed=0)
    assert told in str(refused.value)


def test_a_start_from_a_reward_model_keeps_its_head(reward_model):
    start = load_classifier(str(reward_model[0]), new_head_seed=3)
    assert torch.equal(start.score.weight, reward_model[1]["score.weight"])


def test_an_adapter_is_no_model(saved, reward_model):
    folder = saved(reward_model[1])
    (folder / "adapter_config.json").write_text("{}")
    for seed in (None, 0):
        with pytest.raises(ValueError, match="holds an adapter"):
            load_classifier(str(folder), new_head_seed=seed)
