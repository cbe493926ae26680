"""Messages in other spellings say the same; what a pair has no place for is refused by name."""

import numpy as np
import pytest

from synpref_dagster.sources.foreign.messages import as_messages, is_messages, unwrapped
from synpref_dagster.sources.records import RowRejected

HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}


@pytest.mark.parametrize(
    "spelled",
    [
        [HI, HELLO],
        [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
        [{"role": "Human", "content": "Hi"}, {"role": "bot", "content": "Hello"}],
        [{"speaker": "user", "text": "Hi"}, {"speaker": "model", "text": "Hello"}],
        [{**HI, "id": 7, "created": "today"}, {**HELLO, "weight": 0, "train": False}],
        [{**HI, "tool_calls": None, "images": []}, {**HELLO, "function_call": {"name": None}}],
        [{**HI, "from": None}, {**HELLO, "name": "Ada"}],
        [{**HI, "content": [{"type": "text", "text": "Hi", "image_url": None}]}, HELLO],
        [{**HI, "content": [{"type": "text", "text": t} for t in ("H", "i")]}, HELLO],
        [{**HI, "content": [{"text": "H"}, {"text": "i"}]}, HELLO],
        [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": ["Hello"]}],
        [{**HI, "parts": [{"type": "text", "text": "Hi"}]}, {**HELLO, "parts": []}],
        [{"role": "USER", "message": "Hi"}, {"role": "CHATBOT", "message": "Hello"}],
        [{"type": "human", "content": "Hi"}, {"type": "ai", "content": "Hello"}],
        [{"type": "message", **HI}, {"sender": "assistant", "text": "Hello"}],
        [{"author": "Ada", **HI}, {"author": "gpt", "content": "Hello"}],
        np.array([HI, HELLO], dtype=object),
        (HI, HELLO),
    ],
)
def test_every_spelling_gives_the_same_messages(spelled):
    assert is_messages(spelled)
    assert as_messages(spelled) == [HI, HELLO]


@pytest.mark.parametrize(
    "about",
    [
        {"uuid": "x", "created_at": "today", "updatedAt": "today", "user_id": "ada"},
        {"model_name": "m", "temperature": 0.7, "usage": {"input_tokens": 7}, "stop_reason": "end"},
        {"annotations": [{"rating": 3}], "loss_mask": [1, 1], "metadata": {"a": "x"}},
        {"hashed_ip": "x", "header": {"accept": "x"}, "country": "Chile", "language": "English"},
        {"whatever": 7, "other": True, "context": "", "search_results": [], "picture": None},
        {"input_tokens": ["H", "i"], "document_id": "x", "parent": "x", "children": ["y"]},
    ],
)
def test_fields_that_say_nothing_of_what_was_said_are_no_part_of_a_message(about):
    assert as_messages([{**HI, **about}, HELLO]) == [HI, HELLO]


def test_metadata_of_parts_is_no_part_of_a_text():
    part = {"type": "output_text", "text": "Hi", "annotations": [{"id": "x"}], "logprobs": [1]}
    assert as_messages([{**HI, "content": [part]}]) == [HI]


def test_a_lone_message_is_a_list_of_one():
    assert as_messages({"from": "human", "value": "Hi"}) == [HI]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({**HELLO, "tool_calls": [{"name": "weather"}]}, "tool_calls_unsupported"),
        ({"role": "assistant", "tool_calls": [{"name": "weather"}]}, "tool_calls_unsupported"),
        ({**HELLO, "function_call": {"name": "weather"}}, "tool_calls_unsupported"),
        ({"role": "tool", "content": "12 degrees"}, "tool_calls_unsupported"),
        ({"from": "observation", "value": "12 degrees"}, "tool_calls_unsupported"),
        ({**HI, "content": [{"type": "tool_result", "content": "x"}]}, "tool_calls_unsupported"),
        ({**HI, "content": [{"type": "image"}, {"type": "text", "text": "?"}]},
         "multimodal_unsupported"),
        ({**HI, "content": [{"type": "text", "text": "?", "image_url": "a.png"}]},
         "multimodal_unsupported"),
        ({**HI, "images": ["a.png"]}, "multimodal_unsupported"),
        ({**HI, "audio": b"riff"}, "multimodal_unsupported"),
        ({**HELLO, "reasoning_content": "Let me think."}, "reasoning_unsupported"),
        ({"role": "assistant", "content": None, "refusal": "I will not."}, "unsupported_content"),
        ({**HI, "content": [{"type": "poem", "text": "?"}]}, "unsupported_content"),
        ({**HI, "value": "Bye"}, "malformed_conversation"),
        ({**HI, "parts": ["Bye"]}, "malformed_conversation"),
        ({"role": "model", "parts": [{"thought": True, "text": "Hm."}]}, "reasoning_unsupported"),
        ({"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, "tool_calls_unsupported"),
        ({"role": "user", "parts": [{"inlineData": {"data": "x"}}]}, "multimodal_unsupported"),
        ({**HI, "content": [{"toolUse": {"name": "f"}}]}, "tool_calls_unsupported"),
        ({**HI, "content": [{"image": {"format": "png"}}]}, "multimodal_unsupported"),
        ({**HI, "context": "The doc says 42."}, "unsupported_content"),
        ({**HI, "system": "Be a pirate."}, "unsupported_content"),
        ({**HI, "input": "teh"}, "unsupported_content"),
        ({**HI, "source_documents": ["The doc says 42."]}, "unsupported_content"),
        ({**HI, "search_results": [{"url": "x"}]}, "unsupported_content"),
        ({**HELLO, "artifacts": [{"code": "x"}]}, "unsupported_content"),
        ({**HELLO, "whatever": {"a": "x"}}, "unsupported_content"),
        ({**HI, "content": [{"type": "text", "text": "?", "context": "The doc says 42."}]},
         "unsupported_content"),
        ({**HELLO, "tool": "weather"}, "unsupported_content"),
        ({**HELLO, "toolCallResults": ["12 degrees"]}, "tool_calls_unsupported"),
        ({**HI, "picture": "a.png"}, "multimodal_unsupported"),
        ({**HI, "images_base64": ["x"]}, "multimodal_unsupported"),
        ({**HI, "multi_modal_data": {"image": "x"}}, "multimodal_unsupported"),
    ],
)  # fmt: skip
def test_what_a_pair_has_no_place_for_is_refused(message, reason):
    with pytest.raises(RowRejected) as caught:
        as_messages([message])
    assert caught.value.reasons == (reason,)


def test_two_names_under_one_role_are_two_people():
    ada, bob = {**HI, "name": "Ada"}, {**HI, "name": "Bob"}
    assert as_messages([ada, HELLO, ada]) == [HI, HELLO, HI]
    with pytest.raises(RowRejected) as caught:
        as_messages([ada, HELLO, bob])
    assert (caught.value.reasons, caught.value.detail) == (
        ("several_speakers",), "role user is Ada, Bob"
    )  # fmt: skip


@pytest.mark.parametrize("value", ["Hi", ["Hi"], [{"name": "Ada", "role": "admin"}], {}, None, 7])
def test_what_is_no_list_of_messages_is_none(value):
    assert not is_messages(value)
    assert as_messages(value) is None


def test_values_of_numpy_become_those_of_python():
    assert unwrapped({"a": [np.int64(1), np.array(["x"])]}) == {"a": [1, ["x"]]}
