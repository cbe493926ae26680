"""Predicted operations and bytes are those of the engine, run on tensors without memory."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import AutoModelForSequenceClassification

from synpref_dagster.reward.attention import forward as engine
from synpref_dagster.reward.attention.batching import pack_units
from synpref_dagster.reward.attention.forward import Mode, PackForward
from synpref_dagster.reward.attention.padded import padded_rewards
from synpref_dagster.reward.attention.tree_attention import TREE
from synpref_dagster.reward.prediction.costs import (
    ATTENTION_BACKWARD,
    Load,
    activation_bytes,
    forward_work,
    pair_load,
    step_memory,
    step_work,
)
from synpref_dagster.reward.prediction.shapes import SHAPES, Shape
from synpref_dagster.reward.training.config import LoraUpdates, TrainingConfig
from synpref_dagster.reward.training.lora import add_lora
from synpref_dagster.reward.training.optimisation import build_optimizer

PROMPT, RESPONSE, PAIRS = 20, 40, 4
FULL = [SHAPES["Qwen/Qwen3-0.6B"], SHAPES["meta-llama/Llama-3.2-1B-Instruct"]]
QWEN, LLAMA = (replace(shape, num_layers=3) for shape in FULL)  # costs are linear in the depth
SMALL = Shape(
    hidden_size=64,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    intermediate_size=192,
    vocabulary_size=300,
    norms_heads=True,
)


def pack():
    """Four prompts with two responses each."""
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(PAIRS):
        prompt = rng.integers(1, 50, PROMPT)
        for first in (1, 2):
            response = rng.integers(1, 50, RESPONSE)
            response[0] = first
            sequences.append(np.concatenate([prompt, response]))
    units = [(2 * i, 2 * i + 1) for i in range(PAIRS)]
    [packed] = pack_units(units, sequences, keys=range(PAIRS), tokens_per_pack=1 << 20)
    return packed


class Counted:
    """One forward and backward of the engine on tensors without memory."""

    def __init__(self, config, *, half=True, checkpointing=False):
        packed = pack()
        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            model = AutoModelForSequenceClassification.from_config(config)
            model.set_attn_implementation(TREE)
            if checkpointing:
                model.activation_checkpointing_enable({"use_reentrant": False})
            model.train()
            self.own = {weight.untyped_storage()._cdata for weight in model.parameters()}
            self.kept, self.alive = {}, []
            packed = replace(
                packed,
                input_ids=fake.from_tensor(packed.input_ids),
                position_ids=fake.from_tensor(packed.position_ids),
            )
            with FlopCounterMode(display=False) as counter:
                with (
                    torch.autograd.graph.saved_tensors_hooks(self.keep, lambda kept: kept),
                    torch.autocast("cpu", torch.bfloat16, enabled=half),
                ):
                    rewards = PackForward(model, mode=Mode.TREE_LAST_LAYER)(packed)
                self.forward = counter.get_total_flops()
                rewards.sum().backward()
            self.step = counter.get_total_flops()
            self.num_rewards = len(rewards)

    def keep(self, tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in self.own and storage._cdata not in self.kept:
            self.alive.append(tensor)
            # Copies of weights are counted apart; they have no row per token.
            rows = {PAIRS * (PROMPT + 2 * RESPONSE)} & set(tensor.shape)
            self.kept[storage._cdata] = storage.nbytes() if rows else 0
        return tensor

    @property
    def kept_bytes(self):
        return sum(self.kept.values())


@pytest.fixture(autouse=True)
def counted_products(monkeypatch):
    """Products of a large forward may go through oneDNN, which the counter does not know."""
    monkeypatch.setattr(engine, "fast_linear", lambda *_, **__: nullcontext())


LOAD = pair_load(PROMPT + 2 * RESPONSE).times(PAIRS)


def test_the_load_of_a_pair_is_what_its_pack_sees():
    packed = pack()
    assert LOAD.num_tokens == packed.num_tokens
    assert LOAD.num_scored == len(packed.segments)
    assert LOAD.seen_by_scored == packed.scored_mask.sum()
    seen = [
        (b.query_stop - b.query_start) * (b.key_stop - b.key_start)
        if not b.causal
        else (b.key_stop - b.key_start) * (b.key_stop - b.key_start + 1) // 2
        for b in packed.blocks
    ]
    assert LOAD.num_seen == sum(seen)


@pytest.mark.parametrize("shape", [QWEN, LLAMA], ids=["qwen", "llama"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_products_are_those_of_the_engine(shape, checkpointing, config_of):
    counted = Counted(config_of(shape), checkpointing=checkpointing)
    assert counted.num_rewards == 2 * PAIRS
    assert forward_work(shape, LOAD).products == counted.forward
    assert step_work(shape, LOAD, checkpointing=checkpointing).products == counted.step


@pytest.mark.slow
@pytest.mark.parametrize("shape", FULL, ids=["qwen", "llama"])
def test_a_step_at_full_depth_costs_what_was_predicted(shape, config_of):
    counted = Counted(config_of(shape), checkpointing=True)
    assert step_work(shape, LOAD, checkpointing=True).products == counted.step
    counted = Counted(config_of(shape))
    predicted = LOAD.num_tokens * activation_bytes(shape, half=True, checkpointing=False)
    assert counted.kept_bytes == pytest.approx(predicted, rel=0.02)


def test_attention_is_counted_as_its_two_products(config_of):
    length, width = 24, 2
    model = AutoModelForSequenceClassification.from_config(
        config_of(SMALL), attn_implementation="eager"
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        padded_rewards(model, [np.arange(length)] * width)
    square = width * length**2  # eager attention also computes what is masked
    every_layer = Load(
        num_tokens=0, num_seen=square, num_scored=0, seen_by_scored=square
    )  # the last one too
    products = 2 * width * (length * SMALL.num_products + SMALL.hidden_size)
    assert counter.get_total_flops() == products + forward_work(SMALL, every_layer).attention


def test_the_backward_pass_of_attention_counts_as_torch_counts_it():
    shapes = [(1, 4, 32, 16)] * 3
    there, back = sdpa_flop_count(*shapes), sdpa_backward_flop_count(shapes[0], *shapes)
    assert back == ATTENTION_BACKWARD * there
    plain = step_work(SMALL, LOAD, checkpointing=False).attention
    assert plain == (1 + ATTENTION_BACKWARD) * forward_work(SMALL, LOAD).attention
    again = step_work(SMALL, LOAD, checkpointing=True).attention
    assert plain < again < plain + forward_work(SMALL, LOAD).attention


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [QWEN, LLAMA, SMALL], ids=["qwen", "llama", "small"])
def test_kept_activations_are_those_of_the_engine(shape, half, config_of):
    counted = Counted(config_of(shape), half=half)
    predicted = LOAD.num_tokens * activation_bytes(shape, half=half, checkpointing=False)
    assert counted.kept_bytes == pytest.approx(predicted, rel=0.02)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_with_checkpointing_a_layer_keeps_its_input_and_one_is_redone(half, config_of):
    counted = Counted(config_of(QWEN), half=half, checkpointing=True).kept_bytes / LOAD.num_tokens
    predicted = activation_bytes(QWEN, half=half, checkpointing=True)
    without = activation_bytes(QWEN, half=half, checkpointing=False)
    assert counted < predicted < counted + without / (QWEN.num_layers - 1)
    assert predicted < without


@pytest.mark.parametrize("lora", [None, LoraUpdates(rank=4)], ids=["all", "lora"])
def test_weights_gradients_and_moments_are_those_of_a_real_step(lora, config_of):
    model = AutoModelForSequenceClassification.from_config(config_of(SMALL))
    model.set_attn_implementation(TREE)
    if lora:
        add_lora(model, lora, seed=0)
    forward = PackForward(model, mode=Mode.TREE_LAST_LAYER)
    optimizer = build_optimizer(model, TrainingConfig())
    forward(pack()).sum().backward()
    optimizer.step()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    moments = [t for state in optimizer.state.values() for t in state.values() if t.ndim]
    updates = SMALL.num_updates(lora.rank) if lora else None
    memory = step_memory(SMALL, 0, dtype="float32", checkpointing=False, lora_weights=updates)
    assert memory.gradients == nbytes(weight.grad for weight in trained)
    assert memory.optimizer == nbytes(moments)
    # A score head in training has its first weights beside it (peft).
    head = 4 * SMALL.hidden_size if lora else 0
    assert memory.weights == pytest.approx(nbytes(model.parameters()), abs=head)


def nbytes(tensors):
    return sum(tensor.nbytes for tensor in tensors)
