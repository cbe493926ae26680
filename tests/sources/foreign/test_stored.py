"""Messages written as text are read where that is exact, refused where it is not, else left."""

import json

import numpy as np
import pytest

from synpref_dagster.sources.foreign.stored import stored_messages
from synpref_dagster.sources.records import RowRejected

CHAT = [{"role": "user", "content": "What's up?"}, {"role": "assistant", "content": 'All "well".'}]
SHAREGPT = [{"from": "human", "value": "What's up?"}, {"from": "gpt", "value": 'All "well".'}]
GEMINI = [
    {"role": "user", "parts": [{"text": "What's up?"}]},
    {"role": "model", "parts": [{"text": "All "}, {"text": '"well".'}]},
]
RESPONSES = [
    {"type": "message", "role": one["role"], "content": [{"type": kind, "text": one["content"]}]}
    for one, kind in zip(CHAT, ("input_text", "output_text"), strict=True)
]
ARRAY = np.array(CHAT, dtype=object)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CHAT),
        json.dumps(CHAT, indent=2),
        f"\n {json.dumps(CHAT)} ",
        repr(CHAT),
        repr(tuple(CHAT)),
        json.dumps(SHAREGPT),
        repr(SHAREGPT),
        json.dumps({"messages": CHAT}),
        json.dumps(json.dumps(CHAT)),
        json.dumps([{"id": 1, **message} for message in CHAT]),
        f"\ufeff{json.dumps(CHAT)}",
        f"\u200b {json.dumps(CHAT)}\n\u2060",
        f"```json\n{json.dumps(CHAT, indent=2)}\n```",
        f"```\r\n{json.dumps(CHAT)}\r\n```\n",
        repr(json.dumps(CHAT).encode()),
        json.dumps(GEMINI),
        json.dumps({"contents": GEMINI}),
        json.dumps({"model": "m", "output": RESPONSES}),
        json.dumps(RESPONSES),
        json.dumps(
            [
                {"type": {"user": "human"}.get(one["role"], "ai"), "content": one["content"]}
                for one in CHAT
            ]
        ),
        json.dumps([{"sender": one["role"], "text": one["content"]} for one in CHAT]),
        json.dumps([[one["role"], one["content"]] for one in CHAT]),
        repr([(one["role"], one["content"]) for one in CHAT]),
    ],
)
def test_a_stored_chat_is_its_messages(text):
    assert stored_messages(text) == CHAT


@pytest.mark.parametrize("text", [json.dumps(CHAT[0]), repr(CHAT[0]), str(ARRAY[:1])])
def test_one_stored_message_is_one_message(text):
    assert stored_messages(text) == CHAT[:1]


@pytest.mark.parametrize(
    "text",
    [
        repr(ARRAY),
        str(ARRAY),
        json.dumps(CHAT)[:-4],
        repr(CHAT)[:-1],
        repr(CHAT).replace("}, {", "} {"),
        f"{json.dumps(CHAT)};",
        f"```json\n{json.dumps(CHAT)[:-9]}\n```",
        "".join(map(json.dumps, CHAT)),
        json.dumps({"system_instruction": "Be brief.", "contents": GEMINI}),
        json.dumps({"request": {"body": {"messages": CHAT}}}),
        json.dumps({"prompt": CHAT[:1], "reply": CHAT[1:]}),
        json.dumps([CHAT, CHAT]),
        json.dumps([{"type": "human", "data": {"content": "Hi"}}]),
        json.dumps([{"author": {"role": "user"}, "content": {"parts": ["Hi"]}}]),
        json.dumps({"user": "Hi", "assistant": "Hello"}),
        json.dumps([{"human": "Hi", "ai": "Hello"}]),
        json.dumps([*CHAT, {"role": "critic", "content": "Too short."}]),
        "[{role: 'user', content: 'Hi'}, {role: 'assistant', content: 'Hello'}]",
        "- role: user\n  content: Hi\n- role: assistant\n  content: Hello\n",
        "messages:\n  - role: user\n    content: Hi\n",
        "[HumanMessage(content='Hi'), AIMessage(content='Hello')]",
        "ChatMessage(role='user', content='Hi')",
    ],
)
def test_a_stored_chat_that_cannot_be_read_exactly_is_refused(text):
    with pytest.raises(RowRejected) as caught:
        stored_messages(text)
    assert caught.value.reasons == ("messages_stored_as_text",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        '{"name": "Ada"}',
        json.dumps([{"name": "Ada", "age": 36}]),
        json.dumps([{"role": "admin", "content": "everything"}]),
        json.dumps({"role": "Hamlet", "text": "To be"}),
        '[{"role": "user"',
        f"{json.dumps(CHAT)} is what I send. Why does it fail?",
        f"Why does this fail? {json.dumps(CHAT)}",
        "[sic] the role: content",
        '{"user": "ada", "model": "x1", "system": "linux"}',
        '{"type": "user", "name": "Ada"}',
        '{"role": "user", "permissions": ["read"]}',
        "- role: the part of an actor\n  content: what is in it",
        f"```json\n{json.dumps(CHAT)}\n```\nWhy does this fail?",
        "```python\nmessages = [1]\n```",
        "Human rights and AI: a message (content follows)",
    ],
)
def test_json_that_is_no_chat_and_talk_of_chats_stay_text(text):
    assert stored_messages(text) is None


def test_calls_of_tools_in_a_stored_chat_are_refused_as_such():
    with pytest.raises(RowRejected) as caught:
        stored_messages(json.dumps([*CHAT, {"role": "tool", "content": "x"}]))
    assert caught.value.reasons == ("tool_calls_unsupported",)


@pytest.mark.parametrize(
    "text",
    [
        "[Message(role='assistant', content='a b')]",
        "[Turn(role='user', content='a b'), Turn(role='assistant', content='c')]",
        "namespace(role='user', content='a b')",
        "Turn(id=7, content='a, (b)', role='assistant')",
        "chat.Turn(speaker=<Role.USER: 'user'>, text='a b')",
        "(Turn(role=Role.ASSISTANT, content='a b'),)",
        "<Turn role='user' content='a b'>",
        "role: user\ncontent: hello",
        "from: human\r\nvalue: |\r\n  hello",
        "content: hello\nrole: user\n",
        "```yaml\nrole: user\ncontent: hello\n```",
    ],
)
def test_messages_as_objects_print_them_and_as_yaml_are_refused(text):
    with pytest.raises(RowRejected) as caught:
        stored_messages(text)
    assert caught.value.reasons == ("messages_stored_as_text",)


@pytest.mark.parametrize(
    "text",
    [
        "Message(size=3, content='a b')",
        "Call namespace(role='user', content='a') to make one.",
        "role: a user is somebody who asks.\ncontent: what is said",
        "from: user\nSubject: hello",
        "Point(x=1, y=2)",
        "Employee(role='admin', text='a b')",
    ],
)
def test_objects_and_lines_of_which_nobody_known_speaks_are_text(text):
    assert stored_messages(text) is None
