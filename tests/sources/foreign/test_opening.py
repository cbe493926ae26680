"""Prompt and responses are opened together: what one tells decides how the other is read."""

import json

import pytest

from synpref_dagster.sources.foreign.opening import opened
from synpref_dagster.sources.formats.fields import build_pair, user_turn
from synpref_dagster.sources.records import RowRejected, SourceSpec

SPEC = SourceSpec(name="demo", path="x", origin="human", licence="MIT")
FRUIT, HI, HELLO = (
    {"role": role, "content": content}
    for role, content in (("user", "Name a fruit."), ("user", "Hi"), ("assistant", "Hello"))
)
SYSTEM = {"role": "system", "content": "Be brief."}
CHATML = "<|im_start|>user\nName a fruit.<|im_end|>\n<|im_start|>assistant\n"
LLAMA = "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nName a fruit. [/INST]"
HH = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Name a fruit.\n\nAssistant:"
APPLE, STONE = "An apple.", "A stone."


def whole(text):
    return json.dumps([FRUIT, {"role": "assistant", "content": text}])


def read(prompt, chosen, rejected):
    pair = build_pair(SPEC, 0, conversation=user_turn(prompt), responses=(chosen, rejected))
    return list(pair.conversation), pair.chosen, pair.rejected


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        (("Name a fruit.", APPLE, STONE), [FRUIT]),
        ((json.dumps([HI, HELLO, FRUIT]), APPLE, STONE), [HI, HELLO, FRUIT]),
        ((repr(FRUIT), json.dumps({"role": "assistant", "content": APPLE}),
          repr([{"from": "gpt", "value": STONE}])), [FRUIT]),
        (("Name a fruit.", whole(APPLE), whole(STONE)), [FRUIT]),
        ((CHATML, APPLE, STONE), [FRUIT]),
        ((CHATML, f"{APPLE}<|im_end|>", f"{STONE} </s>"), [FRUIT]),
        ((CHATML, f"{CHATML}{APPLE}<|im_end|>\n", f"{CHATML}{STONE}<|im_end|>\n"), [FRUIT]),
        (("Name a fruit.", f"{APPLE}<|eot_id|>", STONE), [FRUIT]),
        ((LLAMA, f" {APPLE} </s>", STONE), [SYSTEM, FRUIT]),
        ((HH, f" {APPLE}", f" {STONE}"), [HI, HELLO, FRUIT]),
        (("Human: Name a fruit.", f"Assistant: {APPLE}", f"Assistant: {STONE}"), [FRUIT]),
        (("### Human: Hi### Assistant: Hello### Human: Name a fruit.### Assistant:", APPLE, STONE),
         [HI, HELLO, FRUIT]),
        (("user\nName a fruit.", f"assistant\n{APPLE}", f"assistant\n\n{STONE}"), [FRUIT]),
        (("<|user|> Name a fruit.", f"<|assistant|> {APPLE}", f"<|assistant|> {STONE}"), [FRUIT]),
        (([SYSTEM, {"role": "user", "content": HH}], APPLE, STONE), [SYSTEM, HI, HELLO, FRUIT]),
    ],
)  # fmt: skip
def test_one_pair_has_one_identity_however_it_is_folded(row, turns):
    assert read(*row) == (turns, APPLE, STONE)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("Name a fruit.", whole(APPLE), STONE), "messages_stored_as_text"),
        (("Say it in JSON.", whole(APPLE), whole(STONE)), "prompt_not_shared"),
        (([HI, HELLO, {"role": "user", "content": CHATML}], APPLE, STONE), "rendered_chat"),
        ((f"{CHATML}An", APPLE, STONE), "rendered_chat"),
        (("Name a fruit.", f"{APPLE}<|im_end|>\n<|im_start|>user\nMore!", STONE), "rendered_chat"),
        (("Name a fruit.", f"Assistant: {APPLE}", f"Assistant: {STONE}"), "rendered_chat"),
        (("Name a fruit.", f"Assistant: {APPLE}", STONE), "rendered_chat"),
        (("Name a fruit.", APPLE, f"**AI:** {STONE}"), "rendered_chat"),
        ((HH, f"Assistant: {APPLE}", STONE), "rendered_chat"),
        (("Name a fruit.", f"\u200bAssistant: {APPLE}", STONE), "rendered_chat"),
        (("Name a fruit.", f"<assistant>{APPLE}</assistant>", STONE), "rendered_chat"),
        (("Name a fruit.", f"### Response\n{APPLE}", STONE), "rendered_chat"),
        (("Name a fruit.", f"<|assistant|> {APPLE}", STONE), "rendered_chat"),
        (("Name a fruit.", APPLE, f"<|assistant|> {STONE.lower()}"), "rendered_chat"),
        (("Name a fruit.", f"assistant\n{APPLE}", f"assistant\n{STONE}"), "rendered_chat"),
        (("Name a fruit.", f"Human: Name a fruit.\n\nAssistant: {APPLE}", STONE), "rendered_chat"),
        (("Name a fruit.\n<think>\n", APPLE, STONE), "rendered_chat"),
        ((f"{CHATML}<think>\n", f"Hm.</think>{APPLE}", STONE), "reasoning_unsupported"),
        (([SYSTEM, {"role": "user", "content": LLAMA.replace("brief", "long")}], APPLE, STONE),
         "two_system_prompts"),
    ],
)  # fmt: skip
def test_what_cannot_be_unfolded_exactly_is_refused(row, reason):
    with pytest.raises(RowRejected) as caught:
        read(*row)
    assert caught.value.reasons[0] == reason


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        ("Write a dialogue.", "Human: Hi\n\nAssistant: Hello", "Human: Ho\n\nAssistant: Hu"),
        ("Name a fruit.", APPLE, f"{STONE}\n\nHuman: thanks\n\nAssistant: sure"),
        ("Begin with 'Assistant:'.", f"Assistant: {APPLE}", STONE),
        ("What does <think> do?", "It opens a thought.", "<think> is a tag."),
        ("What does <|im_start|> mean?", "It opens a turn.", "<|im_end|> is the other one."),
        ("Give me people as JSON.", '[{"name": "Ada"}]', '[{"name": "Bob", "role": "user"}]'),
    ],
)
def test_texts_that_only_look_like_it_are_kept_to_the_byte(prompt, chosen, rejected):
    assert read(prompt, chosen, rejected) == (
        [{"role": "user", "content": prompt}], chosen, rejected
    )  # fmt: skip


@pytest.mark.parametrize("head", [CHATML, HH])
def test_a_prompt_that_opens_a_thought_is_a_prompt(head):
    turns, _, _ = read(head, APPLE, STONE)
    for mark in ("<think>\n", "<think>\n\n</think>\n\n", "<seed:think>", "[THINK]"):
        assert read(f"{head} {mark}", f" {APPLE}", STONE) == (turns, APPLE, STONE)
    whole_thought = [f"<think>\nHm.</think>{text}" for text in (APPLE, STONE)]
    cut_thought = [text.removeprefix("<think>\n") for text in whole_thought]
    for sides in (whole_thought, cut_thought):
        assert read(f"{head}<think>\n", *sides) == (turns, *whole_thought)


def test_a_row_in_which_nothing_hides_is_handed_on_as_it_is():
    conversation, responses = [FRUIT], (APPLE, STONE)
    turns, texts = opened(conversation, responses)
    assert turns is conversation
    assert texts is responses
