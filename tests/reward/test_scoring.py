import numpy as np
import pytest
import torch
from transformers import pipeline

from synpref_dagster.reward.scoring import RewardModel


@pytest.fixture(scope="module")
def model(stand_in):
    return RewardModel.load(stand_in)


def test_rewards_do_not_depend_on_order_or_company(model, pairs):
    conversations = [pair.conversation for pair in pairs]
    responses = [pair.chosen for pair in pairs]
    rewards = model.rewards(conversations, responses)
    assert rewards.dtype == np.float32
    assert model.rewards(conversations[::-1], responses[::-1])[::-1] == pytest.approx(
        rewards, abs=1e-5
    )
    alone = [model.rewards([c], [r])[0] for c, r in zip(conversations, responses, strict=True)]
    assert alone == pytest.approx(rewards, abs=1e-5)


def test_repeated_texts_get_the_identical_reward(model, pairs):
    rewards = model.rewards([pairs[0].conversation] * 3, [pairs[0].chosen] * 3)
    assert len(set(rewards.tolist())) == 1


def test_no_texts_give_no_rewards(model):
    assert model.rewards([], []).shape == (0,)


def test_over_long_texts_lose_their_beginning_and_are_counted(qwen_stand_in, pairs):
    model = RewardModel.load(qwen_stand_in, max_length_tokens=16)
    long = "word1 " * 30 + " ".join(f"word{i}" for i in range(2, 17))
    other = "word9 " * 30 + " ".join(f"word{i}" for i in range(2, 17))
    rewards = model.rewards([pairs[0].conversation] * 2, [long, other])
    assert model.num_truncated == 2
    assert rewards[0] == rewards[1]


def test_each_distinct_response_and_prefix_is_forwarded_once(qwen_stand_in, pairs):
    model = RewardModel.load(qwen_stand_in)
    texts = ["word1 word2 word3", "word1 word2 word3", "word4 word5"]
    model.rewards([pairs[0].conversation] * 3, texts)
    prompt = len(pairs[0].conversation[0]["content"].split()) + 3
    assert model.num_tokens == prompt + 4 + 3


def test_out_of_memory_halves_the_budget_and_goes_on(qwen_stand_in, pairs, monkeypatch):
    model = RewardModel.load(qwen_stand_in, tokens_per_pack=400)
    conversations = [pair.conversation for pair in pairs]
    responses = [pair.chosen for pair in pairs]
    expected = model.rewards(conversations, responses)
    real = model.forward

    def small_memory(pack):
        if pack.num_tokens > 150:
            raise torch.OutOfMemoryError("out of memory")
        return real(pack)

    monkeypatch.setattr(model, "forward", small_memory)
    assert model.rewards(conversations, responses) == pytest.approx(expected, abs=1e-5)
    assert model.tokens_per_pack == 100


def test_a_response_too_large_for_memory_is_an_error_not_a_loop(qwen_stand_in, pairs, monkeypatch):
    model = RewardModel.load(qwen_stand_in)

    def no_memory(pack):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(model, "forward", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        model.rewards([pairs[0].conversation], ["word1"])


def test_streaming_gives_what_one_call_gives(model, pairs):
    conversations = [pair.conversation for pair in pairs[:6]]
    responses = [pair.chosen for pair in pairs[:6]]
    batches = [(conversations[i : i + 2], responses[i : i + 2]) for i in (0, 2, 4)]
    streamed = np.concatenate(list(model.stream(batches)))
    assert streamed == pytest.approx(model.rewards(conversations, responses), abs=1e-5)


def test_the_transformers_pipeline_gives_the_same_rewards(stand_in, model, pairs):
    scorer = pipeline(
        "text-classification", model=str(stand_in), function_to_apply="none", batch_size=4
    )
    texts = [
        model.encoder.tokenizer.apply_chat_template(
            [*pair.conversation, {"role": "assistant", "content": pair.chosen}], tokenize=False
        )
        for pair in pairs[:8]
    ]
    plain = [entry["score"] for entry in scorer(texts)]
    ours = model.rewards([p.conversation for p in pairs[:8]], [p.chosen for p in pairs[:8]])
    assert ours == pytest.approx(plain, abs=1e-5)
