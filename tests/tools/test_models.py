"""A reward model is a folder or hub id that gives one number; the rest is refused in a line."""

import json

import pytest
from huggingface_hub import constants

from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.reward.frozen.places import FROZEN_FILE
from synpref_dagster.reward.linear.model import LINEAR_FILE
from synpref_dagster.tools import models
from synpref_dagster.tools.models import named_model, short_name


def refusal(place):
    with pytest.raises(ValueError, match=r"(?s).") as refused:
        named_model(place)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_folder_is_known_by_its_content(classifier, linear_model):
    assert named_model(classifier).fingerprint == folder_fingerprint(classifier)
    assert named_model(str(linear_model)).uri == str(linear_model)
    assert (models.LINEAR, models.FROZEN) == (LINEAR_FILE, FROZEN_FILE)


def test_a_language_model_has_no_score_head(changed_model):
    said = refusal(changed_model(architectures=["LlamaForCausalLM"]))
    assert "its architecture is LlamaForCausalLM, which has no score head" in said


def test_a_head_of_two_labels_is_no_reward(changed_model):
    said = refusal(
        changed_model(id2label={"0": "bad", "1": "good"}, label2id={"bad": 0, "good": 1})
    )
    assert said.endswith("its head has 2 labels, and a reward is one number")


def test_a_configuration_that_says_nothing_of_labels_has_two(changed_model, classifier):
    folder = changed_model()
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config.pop("id2label")
    file.write_text(json.dumps(config))
    assert "its head has 2 labels" in refusal(folder)


def test_an_encoder_keeps_its_head_elsewhere(changed_model):
    folder = changed_model()
    (folder / "config.json").write_text(
        '{"model_type": "bert", "architectures": ["BertForSequenceClassification"],'
        ' "id2label": {"0": "r"}, "hidden_size": 8, "num_attention_heads": 2,'
        ' "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 9}'
    )
    assert "BertForSequenceClassification whose head is not called score" in refusal(folder)


def test_a_missing_tokenizer_and_a_missing_configuration_are_named(changed_model, tmp_path):
    assert "has no tokenizer: copy the one" in refusal(changed_model("tokenizer*"))
    (tmp_path / "empty").mkdir()
    assert "it has no config.json" in refusal(tmp_path / "empty")


def test_a_configuration_that_cannot_be_read_is_named(changed_model):
    folder = changed_model(model_type="no_such_type")
    assert "cannot be loaded: " in refusal(folder)
    (folder / "config.json").write_text("{")
    assert "config.json is no JSON" in refusal(folder)


def test_what_is_no_folder_and_no_id_is_refused(tmp_path):
    assert "no id of the hub (owner/name)" in refusal(tmp_path / "gone")
    assert "no id of the hub" in refusal("just_a_name")
    assert "the hub does not give it" in refusal("owner/no-such-model")


def test_what_was_downloaded_before_needs_no_hub(classifier, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--owner--mine" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    for file in classifier.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    refs = tmp_path / "models--owner--mine" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert named_model("owner/mine").fingerprint == folder_fingerprint(classifier)


def test_names_in_tables_are_the_last_part_that_is_no_hash():
    assert short_name("releases/qwen3-1.7b/ce30af11141484c2") == "qwen3-1.7b"
    assert short_name("Skywork/Skywork-Reward-V2-Qwen3-0.6B") == "Skywork-Reward-V2-Qwen3-0.6B"
    assert short_name("ce30af11141484c2") == "ce30af11141484c2"
