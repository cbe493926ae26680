import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from synpref_dagster.reward.frozen.config import FrozenConfig
from synpref_dagster.reward.frozen.model import FrozenRewardModel, train_frozen_reward_model
from synpref_dagster.reward.frozen.places import backbone_of, is_frozen, needs_this_package
from synpref_dagster.reward.frozen.releasing import stand_alone
from synpref_dagster.reward.scoring import RewardModel, load_reward_model


def released(reader_of, home, pairs, gold, *, pooling, layers=(2, 3)):
    checkpoint, target = home / "models" / pooling, home / "elsewhere" / pooling
    config = FrozenConfig(layers=layers, poolings=(pooling,), max_length_tokens=256)
    reader = reader_of(layers=layers)
    train_frozen_reward_model(pairs, gold, reader=reader, config=config, output_dir=checkpoint)
    target.parent.mkdir()
    stand_alone(checkpoint, target)
    return checkpoint, target


def rewards(model, gold):
    return model.rewards([pair.conversation for pair in gold], [pair.chosen for pair in gold])


@pytest.mark.parametrize("layers", [(2,), (3,)])
def test_a_head_on_the_last_token_is_an_ordinary_classifier_of_its_layers(
    reader_of, home, pairs, gold, layers
):
    checkpoint, target = released(reader_of, home, pairs, gold, pooling="last", layers=layers)
    assert not needs_this_package(checkpoint)
    expected = rewards(load_reward_model(checkpoint), gold)
    ours = load_reward_model(target)
    assert isinstance(ours, RewardModel)
    assert rewards(ours, gold) == pytest.approx(expected, abs=1e-4)
    theirs = AutoModelForSequenceClassification.from_pretrained(target).eval()
    assert theirs.config.num_hidden_layers == layers[0]
    tokenizer = AutoTokenizer.from_pretrained(target)
    texts = [
        tokenizer.apply_chat_template(
            [*pair.conversation, {"role": "assistant", "content": pair.chosen}], tokenize=False
        )
        for pair in gold
    ]
    inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        found = theirs(**inputs).logits[:, 0].numpy()
    assert found == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("pooling", ["mean", "both"])
def test_other_heads_bring_their_backbone_and_are_nothing_to_transformers(
    reader_of, home, pairs, gold, pooling
):
    checkpoint, target = released(reader_of, home, pairs, gold, pooling=pooling)
    assert needs_this_package(checkpoint)
    expected = rewards(load_reward_model(checkpoint), gold)
    for folder in ("backbones", "models", "features"):
        (home / folder).rename(home / f"gone_{folder}")
    alone = load_reward_model(target)
    assert isinstance(alone, FrozenRewardModel)
    assert rewards(alone, gold) == pytest.approx(expected, abs=1e-5)
    with pytest.raises((OSError, ValueError)):
        AutoModelForSequenceClassification.from_pretrained(target)


def test_a_checkpoint_says_what_it_rests_on(reader_of, home, pairs, gold, stand_in):
    checkpoint, target = released(reader_of, home, pairs, gold, pooling="both")
    assert is_frozen(checkpoint)
    assert not is_frozen(stand_in)
    assert backbone_of(checkpoint).parent == home / "backbones"
    assert backbone_of(target).parent == target
