"""Parity: every way of running a batch gives the rewards and gradients of the padded reference."""

import copy

import pytest
import torch
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

from synpref_dagster.reward.attention.batching import pack_units
from synpref_dagster.reward.attention.forward import Mode, PackForward, verified_forward
from synpref_dagster.reward.attention.padded import padded_rewards
from synpref_dagster.reward.stand_ins import LLAMA3_ROPE

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
    "num_labels": 1,
}


class WideNorm(nn.Module):
    """RMSNorm that stays in its input's precision; the stock ones go through float32."""

    def __init__(self, stock):
        super().__init__()
        self.weight = nn.Parameter(stock.weight.detach().clone())
        self.epsilon = stock.variance_epsilon

    def forward(self, hidden):
        return nn.functional.rms_norm(hidden, hidden.shape[-1:], self.weight, self.epsilon)


def build(family, *, dtype=torch.float32, wide_norms=False, **changes):
    torch.manual_seed(0)
    if family == "qwen3":
        model = Qwen3ForSequenceClassification(Qwen3Config(**SHAPE | changes))
    elif family == "llama":
        # Scaling acts below 512 positions, so that the sequences here feel it.
        rope = LLAMA3_ROPE | {"original_max_position_embeddings": 16}
        config = LlamaConfig(**SHAPE | changes, rope_parameters=rope)
        model = LlamaForSequenceClassification(config)
    else:
        model = MistralForSequenceClassification(MistralConfig(**SHAPE | changes))
    if wide_norms:
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if type(child).__name__.endswith("RMSNorm"):
                    setattr(module, name, WideNorm(child))
    return model.to(dtype)


def loss_and_gradients(model, rewards_of, units):
    """Bradley-Terry over all units; `rewards_of` yields rewards with their row of each sequence."""
    model.zero_grad()
    rewards = {}
    for reward_R, row_of, members in rewards_of(model):
        margins = [
            reward_R[row_of[a]] - reward_R[row_of[b]] for a, b in (units[m] for m in members)
        ]
        (-nn.functional.logsigmoid(torch.stack(margins)).sum() / len(units)).backward()
        rewards |= {sequence: reward_R[row].detach() for sequence, row in row_of.items()}
    gradient = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    return torch.stack([rewards[i] for i in sorted(rewards)]), gradient


def padded_one_by_one(units, sequences):
    def rewards_of(model):
        for index, (chosen, rejected) in enumerate(units):
            alone = [padded_rewards(model, [sequences[i]]) for i in (chosen, rejected)]
            yield torch.cat(alone), {chosen: 0, rejected: 1}, [index]

    return rewards_of


def packed(random_units, *, mode, budget):
    units, sequences, keys = random_units

    def rewards_of(model):
        forward = PackForward(model, mode=mode)
        for pack in pack_units(units, sequences, keys=keys, tokens_per_pack=budget):
            yield forward(pack), pack.row_of, pack.units

    return rewards_of


@pytest.mark.parametrize("family", ["qwen3", "llama"])
@pytest.mark.parametrize("mode", [Mode.TREE, Mode.TREE_LAST_LAYER])
@pytest.mark.parametrize(
    ("dtype", "reward_limit", "gradient_limit"),
    [(torch.float64, 1e-12, 1e-12), (torch.float32, 1e-5, 1e-6)],
)
def test_rewards_and_gradients_equal_the_padded_batch_of_one(
    family, mode, dtype, reward_limit, gradient_limit, random_units
):
    units, sequences, _ = random_units
    model = build(family, dtype=dtype, wide_norms=dtype == torch.float64)
    expected = loss_and_gradients(copy.deepcopy(model), padded_one_by_one(units, sequences), units)
    assert verified_forward(model).mode is Mode.TREE_LAST_LAYER
    for budget in (60, 400, 10_000):
        rewards, gradient = loss_and_gradients(
            model, packed(random_units, mode=mode, budget=budget), units
        )
        assert (rewards - expected[0]).abs().max() < reward_limit
        assert (gradient - expected[1]).abs().max() < gradient_limit


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_gradient_checkpointing_changes_nothing(family, random_units):
    units = random_units[0]
    model = build(family)
    verified_forward(model)
    rewards_of = packed(random_units, mode=Mode.TREE_LAST_LAYER, budget=400)
    plain = loss_and_gradients(model.train(), rewards_of, units)
    model.activation_checkpointing_enable({"use_reentrant": False})
    again = loss_and_gradients(model.train(), rewards_of, units)
    assert torch.equal(plain[0], again[0])
    assert torch.equal(plain[1], again[1])


def test_one_layer_models_work(random_units):
    units, sequences, _ = random_units
    model = build("qwen3", num_hidden_layers=1)
    expected = loss_and_gradients(copy.deepcopy(model), padded_one_by_one(units, sequences), units)
    forward = verified_forward(model)
    rewards_of = packed(random_units, mode=forward.mode, budget=400)
    rewards, gradient = loss_and_gradients(model, rewards_of, units)
    assert (rewards - expected[0]).abs().max() < 1e-5
    assert (gradient - expected[1]).abs().max() < 1e-6


def test_a_sharded_model_keeps_its_whole_last_layer():
    assert verified_forward(build("qwen3"), sharded=True).mode is Mode.TREE


def test_a_model_can_be_verified_again():
    model = build("qwen3")
    assert verified_forward(model).mode is verified_forward(model).mode is Mode.TREE_LAST_LAYER


def test_a_model_that_pruning_would_change_keeps_its_whole_last_layer():
    model = build("qwen3")
    last = model.model.layers[-1]
    stock = last.forward
    last.forward = lambda hidden, **kwargs: stock(hidden, **kwargs) + 1.0
    assert verified_forward(model).mode is Mode.TREE


def test_a_sliding_window_model_falls_back_to_padding(random_units):
    units, sequences, _ = random_units
    model = build("mistral", sliding_window=6)
    expected = loss_and_gradients(copy.deepcopy(model), padded_one_by_one(units, sequences), units)
    forward = verified_forward(model)
    assert forward.mode is Mode.PADDED
    rewards, gradient = loss_and_gradients(
        model, packed(random_units, mode=forward.mode, budget=400), units
    )
    assert (rewards - expected[0]).abs().max() < 1e-5
    assert (gradient - expected[1]).abs().max() < 1e-6


def test_bfloat16_weights_give_float32_rewards_near_the_reference(random_units):
    _, sequences, keys = random_units
    model = build("qwen3", dtype=torch.bfloat16).eval()
    with torch.no_grad():
        expected = padded_rewards(model, sequences)
    forward = verified_forward(model)
    sequence_keys = [key for key in keys for _ in (0, 1)]
    units = [(i,) for i in range(len(sequences))]
    with torch.no_grad():
        pack = pack_units(units, sequences, keys=sequence_keys, tokens_per_pack=10_000)[0]
        rewards = forward(pack)
    assert rewards.dtype == torch.float32
    rows = [pack.row_of[i] for i in range(len(sequences))]
    assert (rewards[rows] - expected).abs().max() < 0.05 * expected.abs().max()


def test_under_autocast_the_head_still_gives_float32_rewards(random_units):
    units, sequences, keys = random_units
    model = build("llama").eval()
    [pack] = pack_units(units, sequences, keys=keys, tokens_per_pack=1 << 20)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        padded = padded_rewards(model, sequences[:4])
    forward = verified_forward(model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rewards = forward(pack)
    assert rewards.dtype == padded.dtype == torch.float32
    assert not torch.equal(rewards, rewards.bfloat16().float())
