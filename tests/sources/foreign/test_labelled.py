"""Chats with plain labels are read where the whole text is one; a mention is a mention."""

import pytest

from synpref_dagster.sources.foreign.labelled import labelled_messages
from synpref_dagster.sources.records import RowRejected

HI, HELLO = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
OPEN = {"role": "assistant", "content": ""}
VICUNA = "A chat between a curious user and an artificial intelligence assistant."
ALPACA = "Below is an instruction that describes a task. Write a response.\n\n"


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Hi\n\nAssistant:", [HI, HELLO, HI, OPEN]),
        ("\n\nHuman: Hi", [HI]),
        ("Human: Hi\nAI: Hello", [HI, HELLO]),
        ("### Human: Hi\n### Assistant: Hello", [HI, HELLO]),
        ("USER: Hi ASSISTANT: Hello</s>USER: Hi ASSISTANT:", [HI, HELLO, HI, OPEN]),
        (f"{VICUNA} USER: Hi ASSISTANT:", [{"role": "system", "content": VICUNA}, HI, OPEN]),
        (f"{ALPACA}### Instruction:\nHi\n\n### Response:\n", [HI, OPEN]),
        ("### Instruction:\nHi\n\n### Response:\nHello", [HI, HELLO]),
        (f"{ALPACA}### Instruction:\nSum up.\n\n### Input:\nA text.\n\n### Response:",
         [{"role": "user", "content": "Sum up.\n\nA text."}, OPEN]),
        ("<human>: Hi\n<bot>: Hello", [HI, HELLO]),
        ("Human: Who?\n\nAssistant: Human: me.\nAssistant: no",
         [{"role": "user", "content": "Who?"},
          {"role": "assistant", "content": "Human: me.\nAssistant: no"}]),
    ],
)  # fmt: skip
def test_a_chat_with_labels_is_its_turns(text, turns):
    assert labelled_messages(text) == turns


@pytest.mark.parametrize(
    "text",
    [
        'What does "Human:" mean before "Assistant:"?',
        "Human: the origin of the word?",
        "Name a fruit.\n\nHuman: thanks\n\nAssistant: You are welcome.",
        "Assistant: somebody who helps.",
        "The section ### Response: follows ### Instruction: in Alpaca.",
        "Note: this is no chat.",
    ],
)
def test_a_mention_of_labels_is_text(text):
    assert labelled_messages(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Continue.\n\nHuman: Hi\n\nAssistant:",
        "Human: Hi\n\nHuman: Ho\n\nAssistant:",
        "### Instruction:\nHi\n\n### Response:\nHo\n\n### Input:\nx",
    ],
)
def test_a_chat_that_cannot_be_taken_apart_exactly_is_refused(text):
    with pytest.raises(RowRejected) as caught:
        labelled_messages(text)
    assert caught.value.reasons == ("rendered_chat",)
