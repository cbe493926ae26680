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
        ("### Human: Hi### Assistant: Hello### Human: Hi### Assistant:", [HI, HELLO, HI, OPEN]),
        ("### Human: Hi ### Assistant: Hello\n### Human:Hi\n### Assistant:Hello", [HI, HELLO] * 2),
        ("Human: Hi Assistant: Hello Human: Hi Assistant:", [HI, HELLO, HI, OPEN]),
        ("User: Hi AI: Hello", [HI, HELLO]),
        ("### Instruction: Hi ### Response: Hello", [HI, HELLO]),
        ("### Instruction:\nWhat is ### Response: for?\n\n### Response:",
         [{"role": "user", "content": "What is ### Response: for?"}, OPEN]),
        ("## User: Hi\n## Assistant: Hello", [HI, HELLO]),
        ("**Human:** Hi\n\n**Assistant:** Hello", [HI, HELLO]),
        ("**User**: Hi\n**AI**: Hello", [HI, HELLO]),
        ("[Human]: Hi\n[AI]: Hello", [HI, HELLO]),
        ("user: Hi\nassistant: Hello", [HI, HELLO]),
        ("_User:_ Hi\n_Assistant:_ Hello", [HI, HELLO]),
        ("[User] Hi\n[Assistant] Hello", [HI, HELLO]),
        ("### User\nHi\n\n### Assistant\nHello", [HI, HELLO]),
        ("Human : Hi\r\nAssistant : Hello", [HI, HELLO]),
        ("用户：Hi\n助手：Hello", [HI, HELLO]),
        ("\ufeffHuman: Hi\n\nAssistant: Hello", [HI, HELLO]),
        ("<s>USER: Hi ASSISTANT:", [HI, OPEN]),
        ("HUMAN: Hi BOT: Hello", [HI, HELLO]),
        ("System: Be brief.\n\nUser: Hi\n\nAssistant:",
         [{"role": "system", "content": "Be brief."}, HI, OPEN]),
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
        "The Human: a history. Compare it with User: a guide by an AI: why?",
        "Translate into French: User: hello",
        "User: please help me, the assistant does not answer.",
        "Summarise in one line:",
        "Brand: X\nModel:",
        "# Human\nA human is an animal.",
        "(Human) nature: what is it?",
        "Q: What is a fruit?\nA:",
    ],
)
def test_a_mention_of_labels_is_text(text):
    assert labelled_messages(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Continue.\n\nHuman: Hi\n\nAssistant:",
        "Human: Hi\n\nHuman: Ho\n\nAssistant:",
        "Be kind. USER: Hi ASSISTANT:",
        "Human: Hi\\n\\nAssistant:",
        "Be kind. Human: Hi Assistant:",
        "Name a fruit.\n\nAssistant:",
        "Name a fruit.\n\n### Response:\n",
        "User: Hi\nFalcon:",
        "Human: Hi\nModel: X1\nAssistant:",
        "### Instruction:\nHi\n\n### Response:\nHo\n\n### Input:\nx",
    ],
)
def test_a_chat_that_cannot_be_taken_apart_exactly_is_refused(text):
    with pytest.raises(RowRejected) as caught:
        labelled_messages(text)
    assert caught.value.reasons == ("rendered_chat",)
