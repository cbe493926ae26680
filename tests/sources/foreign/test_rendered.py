"""A rendered chat is its turns; a part of one is refused; tokens in prose are words."""

import pytest

from synpref_dagster.sources.foreign.rendered import ends_turn, rendered_messages, without_end
from synpref_dagster.sources.records import RowRejected

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
ALL = [SYSTEM, *ASKED]
HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>"
COMMAND = "<|START_OF_TURN_TOKEN|><|{}_TOKEN|>{}<|END_OF_TURN_TOKEN|>"


def chatml(*turns):
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)


TURNS = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello")]
CHATML = chatml(*TURNS)


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        (CHATML, ALL),
        (chatml(("system", ""), *TURNS[1:]), ASKED),
        ("<|begin_of_text|>" + "".join(HEAD.format(*turn) for turn in TURNS), ALL),
        ("<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello </s>", ALL),
        ("[INST] Hi [/INST] Hello</s>[INST] Hi [/INST]",
         [*ASKED, ASKED[0], {"role": "assistant", "content": ""}]),
        ("<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n",
         ASKED),
        ("<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n", ALL),
        ("<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>", ASKED),
        (CHATML.replace("\n", "\r\n"), ALL),
        ("<|user|>\nHi\n<|assistant|>\nHello", ASKED),
        ("<|user|>Hi<|assistant|>Hello", ASKED),
        ("<|user|> Hi <|assistant|> Hello", ASKED),
        ("<seed:bos>system\nBe brief.<seed:eos><seed:bos>user\nHi<seed:eos>"
         "<seed:bos>assistant\nHello<seed:eos>", ALL),
        ("]~!b[]~b]user name=Ada\nHi[e~[\n]~b]ai name=M\nHello[e~[\n", ASKED),
        ("<bos><|turn>user\nHi<turn|>\n<|turn>model\nHello<turn|>\n", ASKED),
        ("[|system|]Be brief.[|endofturn|]\n[|user|]Hi\n[|assistant|]Hello[|endofturn|]\n", ALL),
        ("<|startoftext|><|bom|><|user|> Hi<|eom|><|bom|><|assistant|> Hello<|eom|>", ASKED),
        ("<s><|user_start|>Hi<|user_end|><|assistant_start|>Hello<|assistant_end|>", ASKED),
        ("<｜begin▁of▁sentence｜>Be brief.<｜User｜>Hi<｜Assistant｜>Hello<｜end▁of▁sentence｜>",
         ALL),
        ("<extra_id_0>System\nBe brief.\n<extra_id_1>User\nHi\n<extra_id_1>Assistant\nHello", ALL),
        ("GPT4 Correct User: Hi<|end_of_turn|>GPT4 Correct Assistant: Hello<|end_of_turn|>", ASKED),
        ("<BOS_TOKEN>" + COMMAND.format("USER", "Hi") + COMMAND.format("CHATBOT", "Hello"),
         [ASKED[0], {"role": "assistant", "content": "Hello"}]),
    ],
)  # fmt: skip
def test_a_rendered_chat_is_its_turns(text, turns):
    assert rendered_messages(text) == turns


@pytest.mark.parametrize(
    "text",
    [
        "Hi<|im_end|>\n<|im_start|>assistant\n",
        "Hi<|im_end|>\n<|im_start|>user\nAnd?",
        "Hi. [/INST]",
        "Hi<|eot_id|>",
        "Hi\n<|im_end|>\n",
        "Hello.<|endoftext|>Human resources are",
        "<|endoftext|>Hello",
        "<|user|> hi <|assistant|> hello",
        "Hi<seed:eos><seed:bos>assistant\n",
        "Hi[e~[\n]~b]ai\n",
        "Hi<turn|>\n<|turn>model\n",
        "<|User|>:Hi<eoh>\n<|Bot|>:",
        "<|BOT|>user\nHi<|EOT|><|BOT|>assistant\n",
        "<|im_start|>user Hi<|im_end|>",
        "<|im_start|>user\nWhat is <|im_start|>?<|im_end|>\n",
        "<|im_start|>tool\nx<|im_end|>\n",
        "<|start|>assistant<|channel|>analysis<|message|>Hm<|end|><|start|>user<|message|>Hi<|end|>",
        f"Below is a chat.\n{CHATML}",
        "[INST] Hi",
    ],
)
def test_a_part_of_a_rendering_is_refused(text):
    with pytest.raises(RowRejected) as caught:
        rendered_messages(text)
    assert caught.value.reasons == ("rendered_chat",)


@pytest.mark.parametrize(
    "text",
    [
        "What does <|im_start|> mean in ChatML?",
        "<|im_start|> opens a turn, <|im_end|> closes it.",
        "<|user|> is what?",
        'stop = ["<|im_end|>", "</s>"]',
        "The tokens are:\n<|im_start|>\n<|im_end|>",
        "It ends with <|im_end|>",
        f"Is this right?\n```\n{CHATML}```",
        "What does [INST] mean, and [/INST]?",
        "Now <s>10</s> 8 euros, was <s>12</s>",
        "a < b and b | c",
        "Use the array a[INST] here.",
    ],
)
def test_talk_of_tokens_is_text(text):
    assert rendered_messages(text) is None


@pytest.mark.parametrize(
    "end",
    [
        "<turn|>",
        "[e~[\n",
        "<seed:eos>",
        "<|im_end|>",
        "<|eot_id|>\n",
        "</s>",
        " </s>",
        "<|end|><|endoftext|>",
    ],
)
def test_tokens_behind_the_last_word_are_taken_off(end):
    assert ends_turn(f"An apple.{end}")
    assert without_end(f"An apple.{end}") == "An apple."
