"""A thought that a prompt opens belongs to the responses, where both end it or none does."""

import pytest

from synpref_dagster.sources.foreign.thoughts import leaves_open, opened_thought, with_thought
from synpref_dagster.sources.records import RowRejected


@pytest.mark.parametrize(
    ("content", "mark"),
    [
        ("", ""),
        ("<think>", "<think>"),
        (" <think>\n", "<think>"),
        ("<think>\n\n</think>\n", ""),
        ("[THINK]", "[THINK]"),
        ("<think>\nHm", None),
        ("<think>\n\n</thinking>", None),
        ("An apple.", None),
    ],
)
def test_an_open_turn_says_nothing_but_that_a_thought_begins(content, mark):
    assert opened_thought(content) == mark


def test_a_response_has_the_beginning_of_its_thought_once():
    assert with_thought("<think>", ("<think>a</think>b", "c</think>d")) == (
        "<think>a</think>b",
        "<think>\nc</think>d",
    )
    with pytest.raises(RowRejected) as caught:
        with_thought("<think>", ("a</think>b", "d"))
    assert caught.value.reasons == ("reasoning_unsupported",)


def test_a_prompt_ends_in_a_thought_where_nobody_only_speaks_of_it():
    assert [leaves_open(text) for text in ("Hi\n<think>\n", "Hi<think>", "Hi\n[THINK]")] == [1] * 3
    assert [leaves_open(text) for text in ("What is <think>", "`<think>", "Hi.", "")] == [0] * 4
