import json
from dataclasses import replace

import pytest
from transformers import AutoConfig, AutoTokenizer

from synpref_dagster.reward.frozen.preparing import (
    cut_classifier,
    default_layers,
    prepare_backbone,
)


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
