import gzip
import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.reward.backbones import Backbone
from synpref_dagster.reward.frozen.config import FrozenConfig
from synpref_dagster.reward.frozen.model import FrozenRewardModel, train_frozen_reward_model
from synpref_dagster.reward.frozen.places import (
    BACKBONES,
    backbone_of,
    is_frozen,
    needs_this_package,
)
from synpref_dagster.reward.frozen.preparing import prepare_backbone
from synpref_dagster.reward.frozen.reading import FeatureReader, Reading
from synpref_dagster.reward.frozen.releasing import stand_alone
from synpref_dagster.reward.scoring import RewardModel, load_reward_model

NUM_REAL = 316  # as many as tell 576 features apart: fewer give rewards of any size


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


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_tool_gives_the_reward_of_a_real_backbone_cut_to_its_layer(smollm2, home, real_pairs):
    """This package's head, its release, AutoModel and pipeline agree; bf16 is off by rounding."""
    checkpoint, target = real_release(smollm2, home, real_pairs)
    some = real_pairs[:16]
    conversations, responses = (
        [pair.conversation for pair in some] * 2,
        [pair.chosen for pair in some] + [pair.rejected for pair in some],
    )
    head = load_reward_model(checkpoint).rewards(conversations, responses)
    release = load_reward_model(target)
    ours = release.rewards(conversations, responses)
    model = AutoModelForSequenceClassification.from_pretrained(target).eval()
    tokenizer = AutoTokenizer.from_pretrained(target)
    texts = [
        tokenizer.apply_chat_template(
            [*conversation, {"role": "assistant", "content": response}], tokenize=False
        )
        for conversation, response in zip(conversations, responses, strict=True)
    ]
    with torch.inference_mode():
        inputs = tokenizer(texts[:8], add_special_tokens=False, padding=True, return_tensors="pt")
        auto = model(**inputs).logits[:, 0].numpy()
    piped = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")(
        texts, function_to_apply="none", add_special_tokens=False, batch_size=1
    )
    half = RewardModel.load(target, dtype="bfloat16").rewards(conversations, responses)
    differences = {
        "the release": np.abs(ours - head).max(),
        "AutoModel": np.abs(auto - head[:8]).max(),
        "pipeline": np.abs(np.array([row["score"] for row in piped]) - head).max(),
    }
    print({**differences, "bfloat16": np.abs(half - head).max(), "spread": np.ptp(head)})
    assert max(differences.values()) <= 1e-4
    assert np.ptp(head) > 0.1
    assert np.abs(half - head).max() < 0.25 * np.ptp(head)


def real_release(folder, home, pairs):
    """A head on the last token of layer 20, fitted on some pairs, and its release."""
    row = Backbone(
        model_size="smollm2-135m",
        hub_id=str(folder),
        licence="apache-2.0",
        pad_token="<|endoftext|>",
        max_length_tokens=1024,
    )
    prepared = prepare_backbone(row, home / BACKBONES, layers=(20,))
    about = {"max_length_tokens": 1024, "dtype": "float32"}
    reading = Reading(backbone=prepared.folder.name, layers=(20,), **about)
    config = FrozenConfig(layers=(20,), poolings=("last",), **about)
    checkpoint, target = home / "models" / "real", home / "given_away"
    reader = FeatureReader(reading, home, keeps=True, device="cpu")
    train_frozen_reward_model(pairs[16:], [], reader=reader, config=config, output_dir=checkpoint)
    stand_alone(checkpoint, target)
    return checkpoint, target


@pytest.fixture
def real_pairs(real_data):
    """Pairs of HH of moderate length."""
    file = real_data / "hh_rlhf_harmless_base_test" / "harmless-base" / "test.jsonl.gz"
    found = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            sides = [row[side].split("\n\nAssistant:") for side in ("chosen", "rejected")]
            if len(sides[0]) != 2 or sides[0][0] != sides[1][0] or not all(s[1] for s in sides):
                continue
            asked = sides[0][0].removeprefix("\n\nHuman:").strip()
            found.append(
                PreferencePair(
                    conversation=(Turn(role="user", content=asked),),
                    chosen=sides[0][1].strip(),
                    rejected=sides[1][1].strip(),
                    source="hh",
                    origin="human",
                )
            )
            if len(found) == NUM_REAL:
                return found
    return found
