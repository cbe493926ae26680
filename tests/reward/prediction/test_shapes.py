"""Shapes of real backbones: their weights are those of the models that transformers builds."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from synpref_dagster.reward.attention.batching import pack_units
from synpref_dagster.reward.attention.forward import Mode, verified_forward
from synpref_dagster.reward.backbones import BACKBONES, Backbone
from synpref_dagster.reward.prediction.shapes import (
    SHAPES,
    checked_shape,
    num_parameters,
    shape_of,
)

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "vocab_size": 100,
}


def test_every_size_of_the_paper_has_a_shape():
    assert {row.hub_id for row in BACKBONES} < set(SHAPES)
    for row in BACKBONES:
        assert shape_of(row).norms_heads == (row.architecture == "qwen3")


@pytest.mark.parametrize("hub_id", SHAPES)
def test_a_shape_has_as_many_weights_as_the_model_at_full_depth(hub_id, config_of):
    shape = SHAPES[hub_id]
    assert shape.num_parameters == num_parameters(config_of(shape))
    assert checked_shape(config_of(shape), place=hub_id) == shape


@pytest.mark.parametrize(
    ("hub_id", "published"),  # a language model with tied embeddings has no score head
    [
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008),
    ],
)
def test_the_weights_are_the_published_ones_and_a_score_head(hub_id, published):
    shape = SHAPES[hub_id]
    assert shape.num_parameters == published + shape.hidden_size


@pytest.mark.parametrize("kind", [LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config])
def test_a_folder_is_read_by_its_configuration(tmp_path, kind):
    kind(**SMALL).save_pretrained(tmp_path)
    row = Backbone(model_size="mine", hub_id=str(tmp_path), licence="", pad_token=None)
    shape = shape_of(row)
    assert (shape.hidden_size, shape.num_layers, shape.key_width) == (48, 3, 2 * shape.head_dim)
    assert shape.num_parameters == num_parameters(kind(**SMALL))


def test_a_folder_named_for_one_of_the_eight_comes_before_its_hub_id(tmp_path):
    LlamaConfig(**SMALL).save_pretrained(tmp_path)
    assert shape_of(BACKBONES[0], str(tmp_path)).num_layers == 3
    assert shape_of(BACKBONES[0]).num_layers == 28


def test_what_is_built_otherwise_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"^odd: what 'gpt2' takes cannot be predicted"):
        checked_shape(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9), place="odd")
    with pytest.raises(ValueError, match="'llama' takes cannot be predicted"):
        checked_shape(LlamaConfig(**SMALL, mlp_bias=True), place="odd")
    row = Backbone(model_size="mine", hub_id=str(tmp_path), licence="", pad_token=None)
    with pytest.raises(ValueError, match="its configuration cannot be read") as caught:
        shape_of(row)
    assert "\n" not in str(caught.value)


def test_updates_of_low_rank_are_as_many_as_both_their_sides():
    shape = SHAPES["meta-llama/Llama-3.2-1B-Instruct"]
    query = 16 * 8 * (2_048 + 2_048)
    value = 16 * 8 * (2_048 + 512)
    assert shape.num_updates(8, ("q_proj", "v_proj")) == query + value + 2_048
    assert shape.num_updates(8) > 3 * shape.num_updates(8, ("q_proj", "v_proj"))


def test_known_shapes_need_no_torch():
    code = (
        "import sys\nfrom synpref_dagster.reward.backbones import BACKBONES\n"
        "from synpref_dagster.reward.prediction.shapes import shape_of\n"
        "print(shape_of(BACKBONES[0]).num_parameters, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["596050944", "False"]


def plain_rewards(model, sequences):
    """What transformers itself gives, one sequence at a time."""
    model.set_attn_implementation("sdpa")
    with torch.inference_mode():
        logits = [model(input_ids=torch.from_numpy(ids)[None]).logits for ids in sequences]
    return torch.cat(logits)[:, 0].float()


@pytest.mark.slow
@pytest.mark.parametrize("hub_id", ["Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-1B-Instruct"])
def test_a_model_at_full_depth_and_width_scores_a_pair_as_transformers_does(hub_id, config_of):
    shape = SHAPES[hub_id]
    torch.manual_seed(0)
    config = config_of(shape)
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.bfloat16).eval()
    assert sum(weight.numel() for weight in model.parameters()) == shape.num_parameters
    rng = np.random.default_rng(0)
    prompt = rng.integers(1, shape.vocabulary_size, 12)
    pair = [np.concatenate([prompt, rng.integers(1, shape.vocabulary_size, n)]) for n in (8, 11)]
    [pack] = pack_units([(0, 1)], pair, keys=["one"], tokens_per_pack=2_048)
    assert pack.num_tokens == 12 + 8 + 11
    for dtype, tolerance in ((torch.bfloat16, 0.05), (torch.float32, 1e-4)):
        if dtype == torch.float32 and shape.num_parameters > 1e9:
            continue  # more than 4 GB
        model.to(dtype)
        plain = plain_rewards(model, pair)
        forward = verified_forward(model)
        assert forward.mode is Mode.TREE_LAST_LAYER
        with torch.inference_mode():
            ours = forward(pack)[[pack.row_of[0], pack.row_of[1]]]
        assert (ours - plain).abs().max() <= tolerance * plain.abs().max()
