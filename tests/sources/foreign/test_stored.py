"""Messages written as text are read where that is exact, refused where it is not, else left."""

import json

import numpy as np
import pytest

from synpref_dagster.sources.foreign.stored import stored_messages
from synpref_dagster.sources.records import RowRejected

CHAT = [{"role": "user", "content": "What's up?"}, {"role": "assistant", "content": 'All "well".'}]
SHAREGPT = [{"from": "human", "value": "What's up?"}, {"from": "gpt", "value": 'All "well".'}]
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
    ],
)
def test_json_that_is_no_chat_and_talk_of_chats_stay_text(text):
    assert stored_messages(text) is None


def test_calls_of_tools_in_a_stored_chat_are_refused_as_such():
    with pytest.raises(RowRejected) as caught:
        stored_messages(json.dumps([*CHAT, {"role": "tool", "content": "x"}]))
    assert caught.value.reasons == ("tool_calls_unsupported",)
