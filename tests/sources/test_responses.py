"""Rows of single responses are unfolded and checked as sides of pairs are."""

import json
from collections import Counter

import pytest

from synpref_dagster.sources.records import QuarantinedRow, SourceSpec
from synpref_dagster.sources.responses import holds_responses, read_answers

USER = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "Hello"}


def read(tmp_path, *rows):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    unread = Counter()
    spec = SourceSpec(name="input", path=str(file), origin="human", licence="")
    return list(read_answers(spec, unread)), unread


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "response": "Hello"},
        {"messages": [USER, SAID]},
        {"conversation": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"prompt": [USER], "response": "Hello"},
        {"prompt": json.dumps([USER]), "response": "Hello"},
        {"prompt": "Hi", "response": [SAID]},
        {"prompt": "Hi", "responses": ["Hello"]},
    ],
)
def test_every_spelling_says_the_same(tmp_path, row):
    [answer], _ = read(tmp_path, row)
    assert (answer.conversation, answer.response) == ((USER,), "Hello")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Hi"}, "empty_response"),
        ({"prompt": "", "response": "Hello"}, "empty_turn"),
        ({"prompt": "Hi", "response": {"a": 1}}, "not_text"),
        ({"prompt": "Hi", "response": "a", "responses": ["b"]}, "two_responses"),
        ({"messages": [USER, SAID], "response": "Hello"}, "conversation_not_ending_with_user"),
        ({"prompt": "Hi", "response": "Hello", "image": {"bytes": "x"}}, "multimodal_unsupported"),
        ({"response": "Hello"}, "missing_column"),
        ({"prompt": "Hi\u0000", "response": "Hello"}, "null_byte"),
    ],
)
def test_what_is_none_has_a_reason(tmp_path, row, reason):
    [found], _ = read(tmp_path, row)
    assert isinstance(found, QuarantinedRow)
    assert found.reason == reason


def test_columns_that_nobody_reads_are_counted(tmp_path):
    _, unread = read(tmp_path, {"prompt": "Hi", "response": "Hello", "colour": "red"})
    assert unread == {"colour": 1}


def test_messages_that_end_with_the_user_answer_nothing():
    assert holds_responses({"messages": [USER, SAID]})
    assert not holds_responses({"messages": [USER]})
    assert not holds_responses({"chosen": "a", "rejected": "b"})
