"""TRL's four layouts give the pair that a person would read in them, or a reason."""

import pytest

from synpref_dagster.sources.formats.trl import split_shared_text
from synpref_dagster.sources.records import RowRejected, SourceSpec
from synpref_dagster.sources.registry import FORMATS

USER = {"role": "user", "content": "Hi"}
REPLY = {"role": "assistant", "content": "Hello!"}
OTHER = {"role": "assistant", "content": "Go away."}
SYSTEM = {"role": "system", "content": "Be kind."}


def read(name: str, row: dict, **options):
    spec = SourceSpec(name="demo", path="x", origin="human", licence="MIT", options=options)
    return FORMATS[name].reader(spec, seed=0)(row, 3).pair


def reasons(name: str, row: dict, **options) -> tuple[str, ...]:
    with pytest.raises(RowRejected) as caught:
        read(name, row, **options)
    return caught.value.reasons


def test_explicit_messages_become_conversation_and_two_responses():
    pair = read(
        "explicit_conversational",
        {"prompt": [SYSTEM, USER], "chosen": [REPLY], "rejected": [OTHER]},
    )
    assert pair.conversation == (SYSTEM, USER)
    assert (pair.chosen, pair.rejected) == ("Hello!", "Go away.")
    assert (pair.source, pair.origin, pair.meta) == ("demo", "human", {"row": 3})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": [USER], "chosen": [REPLY, USER, REPLY]}, "response_not_one_message"),
        ({"prompt": [USER], "chosen": [USER]}, "response_not_one_message"),
        ({"prompt": [USER], "chosen": []}, "empty_response"),
        ({"prompt": [USER], "chosen": 7}, "not_text"),
        ({"prompt": [USER], "chosen": [{"text": "Hello!"}]}, "malformed_conversation"),
        ({"prompt": [USER], "chosen": [{**REPLY, "content": None}]}, "empty_response"),
        ({"prompt": [USER], "chosen": [{**REPLY, "content": ["Hello!"]}]}, "not_text"),
        ({"prompt": [USER, USER], "chosen": [REPLY]}, "roles_not_alternating"),
        ({"prompt": [USER, REPLY], "chosen": [REPLY]}, "conversation_not_ending_with_user"),
        ({"prompt": [{**USER, "role": "tool"}], "chosen": [REPLY]}, "tool_calls_unsupported"),
        ({"prompt": [{**USER, "role": "narrator"}], "chosen": [REPLY]}, "unknown_role"),
        ({"prompt": [{**USER, "role": ["user"]}], "chosen": [REPLY]}, "unknown_role"),
        ({"prompt": [], "chosen": [REPLY]}, "empty_conversation"),
        ({"prompt": [SYSTEM], "chosen": [REPLY]}, "empty_conversation"),
        ({"prompt": ["Hi"], "chosen": [REPLY]}, "malformed_conversation"),
    ],
)
def test_explicit_messages_that_are_no_pair_are_rejected(row, reason):
    assert reasons("explicit_conversational", {"rejected": [OTHER], **row})[0] == reason


def test_a_plain_prompt_becomes_one_user_turn():
    pair = read("explicit_plain", {"prompt": "Hi", "chosen": " Hello! ", "rejected": "No."})
    assert pair.conversation == (USER,)
    # Texts are kept to the byte: only readers of transcripts, which add blanks, strip them.
    assert pair.chosen == " Hello! "


def test_implicit_messages_share_all_but_the_last():
    row = {"chosen": [USER, REPLY, USER, REPLY], "rejected": [USER, REPLY, USER, OTHER]}
    pair = read("implicit_conversational", {**row, "prompt": "Hi"})
    assert pair.conversation == (USER, REPLY, USER)
    assert (pair.chosen, pair.rejected) == ("Hello!", "Go away.")
    assert pair == read("implicit_conversational", row)


def test_a_prompt_that_its_messages_do_not_say_is_never_dropped():
    row = {"chosen": [USER, REPLY], "rejected": [USER, OTHER], "prompt": "In French, please."}
    assert reasons("implicit_conversational", row) == ("prompt_not_shared",)


@pytest.mark.parametrize("prompt", ["Hi", [USER]])
@pytest.mark.parametrize(("chosen", "rejected"), [([REPLY], [OTHER]), ("Hello!", "Go away.")])
def test_prompt_and_responses_may_each_be_text_or_messages(prompt, chosen, rejected):
    name = "explicit_plain" if isinstance(chosen, str) else "explicit_conversational"
    pair = read(name, {"prompt": prompt, "chosen": chosen, "rejected": rejected})
    assert (pair.conversation, pair.chosen, pair.rejected) == ((USER,), "Hello!", "Go away.")


@pytest.mark.parametrize(
    ("chosen", "rejected", "found"),
    [
        ([USER, REPLY], [{**USER, "content": "Hi "}, OTHER], ("prompt_not_shared",)),
        ([USER, REPLY, USER, REPLY], [USER, OTHER], ("prompt_not_shared",)),
        ([USER, REPLY], [USER, USER], ("not_ending_with_response", "roles_not_alternating")),
        ([USER, REPLY], [USER, REPLY], ("identical_responses",)),
        ([REPLY], [OTHER], ("empty_conversation", "roles_not_alternating")),
        ([USER, REPLY], None, ("empty_response",)),
        ([USER, REPLY], "Go away.", ("not_text",)),
        ([USER, REPLY], [None], ("malformed_conversation",)),
    ],
)
def test_implicit_messages_are_taken_strictly(chosen, rejected, found):
    assert reasons("implicit_conversational", {"chosen": chosen, "rejected": rejected}) == found


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        # A line is shared whole or not at all: responses that begin alike stay whole.
        ("Q: 1+1?\nA: It is 2", "Q: 1+1?\nA: It is 3", ("Q: 1+1?", "A: It is 2", "A: It is 3")),
        ("Count. one two", "Count. one too", ("Count. one", "two", "too")),
        ("Name it. Apple", "Name it. Avocado", ("Name it.", "Apple", "Avocado")),
        ("Apple", "Pear", ("", "Apple", "Pear")),
        ("Apple", "Avocado", ("", "Apple", "Avocado")),
        ("Go on.\nYes", "Go on.\n", ("Go on.", "Yes", "")),
        ("", "x", ("", "", "x")),
    ],
)
def test_plain_texts_are_split_at_a_boundary(chosen, rejected, expected):
    assert split_shared_text(chosen, rejected) == expected


def test_a_response_marker_decides_where_the_response_begins():
    row = {"chosen": "Q: 1+1?\nA: It is 2", "rejected": "Q: 1+1?\nA: It is 3"}
    pair = read("implicit_plain", row, response_marker="A:")
    assert (pair.conversation[0]["content"], pair.chosen) == ("Q: 1+1?", "It is 2")
    assert reasons("implicit_plain", row, response_marker="Bot:") == ("prompt_not_shared",)


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        ("Apple", "Pear", "prompt_not_shared"),
        ("Same text.", "Same text.", "identical_responses"),
        ("Name it.\nApple", "Name it.\n", "empty_response"),
        (None, "x", "empty_response"),
        (3, "x", "not_text"),
    ],
)
def test_plain_texts_that_are_no_pair_are_rejected(chosen, rejected, reason):
    assert reasons("implicit_plain", {"chosen": chosen, "rejected": rejected}) == (reason,)


def test_a_missing_column_is_named():
    with pytest.raises(RowRejected) as caught:
        read("explicit_plain", {"prompt": "Hi", "chosen": "Hello!"})
    assert (caught.value.reasons, caught.value.detail) == (("missing_column",), "no rejected")


@pytest.mark.parametrize("marker", ["", 7])
def test_a_marker_must_be_text(marker):
    with pytest.raises(ValueError, match="response_marker"):
        read("implicit_plain", {}, response_marker=marker)
