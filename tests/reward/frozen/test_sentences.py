"""Sentence encoders as folders, on one of two layers that was never trained."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from synpref_dagster.reward.frozen.sentences import SentenceEncoder, encoder_identity

WORDS = ["boats", "sail", "north", "cats", "sleep"]
TEXTS = ["boats sail north", "cats sleep", "boats", "cats sail north boats sleep cats"]


def write(folder, name, content):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """An encoder of which only transformers knows."""
    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=10, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=12,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "encoder")


def by_hand(folder, text, how):
    """Vector of a text that is read alone."""
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokens = BertTokenizerFast.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        states = model(**tokens).last_hidden_state[0]
    pooled = {"mean": states.mean(0), "first": states[0], "last": states[-1]}[how]
    return (pooled / pooled.norm()).numpy()


@pytest.mark.parametrize(
    ("told", "how"),
    [
        (None, "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
def test_texts_are_pooled_as_the_folder_says_whatever_stands_beside_them(folder, told, how):
    if told is not None:
        write(folder, "1_Pooling/config.json", told)
    vectors = SentenceEncoder.load(str(folder)).embed(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [by_hand(folder, t, how) for t in TEXTS], atol=1e-5)


def test_a_prompt_of_its_own_stands_before_every_text_and_long_ones_lose_their_end(folder):
    write(folder, "sentence_bert_config.json", {"max_seq_length": 5})
    told = {"prompts": {"query": "boats "}, "default_prompt_name": "query"}
    write(folder, "config_sentence_transformers.json", told)
    encoder = SentenceEncoder.load(str(folder))
    assert (encoder.max_tokens, encoder.prompt) == (5, "boats ")
    found = encoder.embed(["cats", "sail north sleep sleep"])
    np.testing.assert_allclose(found[0], by_hand(folder, "boats cats", "mean"), atol=1e-5)
    np.testing.assert_allclose(found[1], by_hand(folder, "boats sail north", "mean"), atol=1e-5)


def test_no_text_is_no_row(folder):
    assert SentenceEncoder.load(str(folder)).embed([]).shape == (0, 16)


def test_an_encoder_is_known_by_its_content_and_one_on_the_hub_by_its_name(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert encoder_identity(str(folder), None) == encoder_identity(str(moved), None)
    write(moved, "1_Pooling/config.json", {"pooling_mode_cls_token": True})
    encoder_identity.cache_clear()
    assert encoder_identity(str(folder), None) != encoder_identity(str(moved), None)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (
            "modules.json",
            [{"type": "sentence_transformers.models.Dense"}],
            "ends in Dense, and only Transformer, Pooling, Normalize are known",
        ),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pools by pooling_mode_max"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "only one of mean, first and last",
        ),
    ],
)
def test_what_would_be_read_wrongly_is_refused_before_it_is_read(folder, name, content, line):
    write(folder, name, content)
    with pytest.raises(ValueError, match=line):
        encoder_identity(str(folder), None)


def test_a_folder_of_another_kind_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json.*correct embedding\.path"):
        encoder_identity(str(tmp_path), None)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="is no sentence encoder that can be read"):
        SentenceEncoder.load(str(folder))
    config = BertConfig.from_pretrained(folder)
    config.num_hidden_layers = 1
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    config.num_hidden_layers = 2
    config.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"weights are missing, for instance encoder\.layer\.1"):
        SentenceEncoder.load(str(folder))
