"""Any template is known by its kind: marks and roles where a text begins."""

import pytest

from synpref_dagster.sources.foreign.rendered import rendered_messages
from synpref_dagster.sources.foreign.templates import begins_unread, holds_token
from synpref_dagster.sources.records import RowRejected

UNREAD = [
    "<new:bos>user\nHi<new:eos>",
    "[[turn]]user\nHi",
    "<role>HUMAN</role>Hi<role>ASSISTANT</role>",
    "<用户>Hi<AI>",
    "<user>Hi</user><assistant>",
    "<s>[USER]Hi[SEP][BOT]",
    "system\nBe brief.\nuser\nHi\nassistant\n",
    "user\n\nHiassistant\n\nHello",
    "### Human: Hi\n###",
    "[Round 1]\n\n问：Hi\n\n答：",
    "BEGINNING OF CONVERSATION: USER: Hi GPT:",
    "Source: user\n\n Hi <step> Source: assistant\n",
    "<reserved_106>Hi<reserved_107>",
    "[unused9]Hi[unused10]",
    "<|userprompt|>Hi<|endofuserprompt|><|response|>",
    "&lt;|im_start|&gt;user\nHi&lt;|im_end|&gt;",
    "<｜hy_User｜>Hi<｜hy_Assistant｜>",
]


@pytest.mark.parametrize("text", UNREAD)
def test_a_template_that_is_not_read_is_refused(text):
    assert holds_token(text)
    with pytest.raises(RowRejected) as caught:
        rendered_messages(text)
    assert caught.value.reasons == ("rendered_chat",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<user>Ada</user> is XML. What is wrong in it?",
        "[USER] is a placeholder.",
        "user\nstories for a shop",
        "### Human: what does it mean?",
        "Sources: users and assistants",
        "<html>\n<body>user\n</body>",
        "[1] user\nassistant",
        "#user\nassistant\n",
    ],
)
def test_words_and_marks_of_other_kinds_are_text(text):
    assert not begins_unread(text)
    assert rendered_messages(text) is None
