import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer

from synpref_dagster.reward.backbones import Backbone
from synpref_dagster.reward.frozen.preparing import (
    cut_classifier,
    default_layers,
    prepare_backbone,
)
from synpref_dagster.reward.training.run import TrainingConfig, train_reward_model


def test_what_lies_behind_the_last_layer_read_is_left_out(own_backbone, tmp_path):
    prepared = prepare_backbone(own_backbone, tmp_path, layers=(1, 2))
    assert prepared.layers == (1, 2)
    assert AutoConfig.from_pretrained(prepared.folder).num_hidden_layers == 2
    assert len(cut_classifier(prepared.folder, 1).base_model.layers) == 1


def test_two_thirds_up_and_the_last_layer_are_read_where_none_is_named(own_backbone, tmp_path):
    assert prepare_backbone(own_backbone, tmp_path).layers == (2, 3)
    assert default_layers(1) == (1,)


def test_a_backbone_to_be_trained_keeps_every_layer(own_backbone, tmp_path):
    prepared = prepare_backbone(own_backbone, tmp_path, reads_all=True)
    assert AutoConfig.from_pretrained(prepared.folder).num_hidden_layers == 3


def test_it_is_made_once_and_anew_for_other_weights(own_backbone, tmp_path):
    first = prepare_backbone(own_backbone, tmp_path).folder
    (first / "mark").touch()
    assert prepare_backbone(own_backbone, tmp_path).folder == first
    assert (first / "mark").exists()
    other = replace(own_backbone, pad_token="<|pad|>")
    assert prepare_backbone(other, tmp_path).folder != first
    assert prepare_backbone(own_backbone, tmp_path, layers=(3,)).folder != first
    assert json.loads((first / "prepared.json").read_text())["depth"] == 3


@pytest.mark.parametrize("layers", [(0,), (4,)])
def test_a_layer_that_is_not_there_is_refused(own_backbone, tmp_path, layers):
    with pytest.raises(ValueError, match="the backbone has layers 1 to 3"):
        prepare_backbone(own_backbone, tmp_path, layers=layers)


@pytest.mark.parametrize("place", ["nowhere/at/all", "empty"])
def test_a_wrong_place_is_refused_in_one_line(own_backbone, tmp_path, place):
    (tmp_path / "empty").mkdir()
    row = replace(own_backbone, hub_id=str(tmp_path / place))
    with pytest.raises(ValueError, match=r"holds no (tokenizer|files)") as refused:
        prepare_backbone(row, tmp_path / "backbones")
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "backbones").glob("own-*"))


def test_a_pad_token_that_is_the_end_of_sequence_is_refused(own_backbone, tmp_path):
    folder = tmp_path / "eos"
    tokenizer = AutoTokenizer.from_pretrained(own_backbone.hub_id)
    tokenizer.pad_token = tokenizer.eos_token
    cut_classifier(prepare_backbone(own_backbone, tmp_path / "b").folder, 3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match="also the end-of-sequence token"):
        prepare_backbone(replace(own_backbone, hub_id=str(folder)), tmp_path / "c")


def test_the_template_of_a_prepared_backbone_brings_no_prompt_of_its_own(own_backbone, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(own_backbone.hub_id)
    tokenizer.chat_template = (
        "{% if messages[0]['role'] != 'system' %}word1 word2{{ eos_token }}{% endif %}"
        + tokenizer.chat_template
    )
    folder = tmp_path / "prompting"
    cut_classifier(prepare_backbone(own_backbone, tmp_path / "b").folder, 3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    prepared = prepare_backbone(replace(own_backbone, hub_id=str(folder)), tmp_path / "c")
    found = AutoTokenizer.from_pretrained(prepared.folder)
    asked = [{"role": "user", "content": "word3"}, {"role": "assistant", "content": "word4"}]
    assert "word1" not in found.apply_chat_template(asked, tokenize=False)
    told = [{"role": "system", "content": "word5"}, *asked]
    assert "word5" in found.apply_chat_template(told, tokenize=False)


WORDS = ["<|end|>", "<|pad|>", *"abcdefghij", "Ġ", "ab"]
TEMPLATE = "{% for m in messages %}{{ m['content'] + '<|end|>' }}{% endfor %}"


@pytest.fixture(scope="module")
def gguf_folder(tmp_path_factory):
    """A folder with a GGUF file of two layers of random weights, and nothing else; the weights."""
    gguf = pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("gguf")
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_merges(["a b"])
    writer.add_token_types([3, 3, *[1] * (len(WORDS) - 2)])
    writer.add_eos_token_id(0)
    writer.add_chat_template(TEMPLATE)
    layer = {"attn_norm": (32,), "attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32)}
    layer |= {"attn_output": (32, 32), "ffn_norm": (32,), "ffn_gate": (48, 32), "ffn_up": (48, 32)}
    layer |= {"ffn_down": (32, 48)}
    shapes = {"token_embd": (len(WORDS), 32), "output_norm": (32,)}
    shapes |= {f"blk.{n}.{name}": shape for n in (0, 1) for name, shape in layer.items()}
    draw = np.random.default_rng(0)
    weights = {name: draw.normal(0, 0.2, shape) for name, shape in shapes.items()}
    for name, weight in weights.items():
        writer.add_tensor(f"{name}.weight", weight.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder, weights


def gguf_row(folder, **changes):
    told = {"gguf_file": "tiny.gguf", "pad_token": "<|pad|>", "max_length_tokens": 64} | changes
    return Backbone(model_size="own", hub_id=str(folder), licence="", **told)


def test_a_gguf_file_becomes_an_ordinary_folder_that_can_be_trained(gguf_folder, tmp_path, pairs):
    folder, weights = gguf_folder
    prepared = prepare_backbone(gguf_row(folder), tmp_path / "backbones", reads_all=True)
    found = load_file(prepared.folder / "model.safetensors")
    np.testing.assert_allclose(
        found["model.layers.1.mlp.down_proj.weight"], weights["blk.1.ffn_down"], atol=1e-6
    )
    config = TrainingConfig(max_steps=2, batch_pairs=4, max_length_tokens=64)
    report = train_reward_model(
        [replace(pair, chosen="ab", rejected="ba") for pair in pairs[:8]],
        [],
        backbone_path=str(prepared.folder),
        config=config,
        output_dir=tmp_path / "trained",
    )
    assert report.num_steps == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"gguf_file": "other.gguf"}, "holds no tokenizer that can be read"),
        ({"pad_token": None}, "no pad token|also the end-of-sequence token"),
        ({"pad_token": "<|nothing|>"}, "is not in the vocabulary"),
    ],
)
def test_a_gguf_file_that_cannot_be_started_from_is_refused_in_a_line(
    gguf_folder, tmp_path, changes, why
):
    with pytest.raises(ValueError, match=why) as refused:
        prepare_backbone(gguf_row(gguf_folder[0], **changes), tmp_path, reads_all=True)
    assert "\n" not in str(refused.value)
    assert str(gguf_folder[0]) in str(refused.value)
