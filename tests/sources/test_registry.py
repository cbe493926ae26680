"""Formats are recognised by their first row, and unknown ones are explained."""

import pytest

from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.registry import FORMATS, detect_format

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
TRANSCRIPT = "\n\nHuman: Hi\n\nAssistant: Hello!"


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (
            {"prompt": MESSAGES[:1], "chosen": MESSAGES[1:], "rejected": MESSAGES[1:]},
            "explicit_conversational",
        ),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b"}, "explicit_plain"),
        ({"chosen": MESSAGES, "rejected": MESSAGES}, "implicit_conversational"),
        ({"prompt": "Hi", "chosen": MESSAGES, "rejected": MESSAGES}, "implicit_conversational"),
        ({"chosen": TRANSCRIPT, "rejected": TRANSCRIPT}, "hh_transcripts"),
        ({"chosen": "Hi. a", "rejected": "Hi. b"}, "implicit_plain"),
        (
            {"prompt": "Hi", "response_a": "a", "response_b": "b", "votes": []},
            "crowd_votes",
        ),
    ],
)
def test_each_layout_is_recognised(row, name):
    assert detect_format(row.keys(), row) == name


def test_every_format_is_registered_under_its_own_name():
    assert all(name == row_format.name for name, row_format in FORMATS.items())


def test_an_unknown_layout_is_refused_with_columns_and_formats():
    row = {"question": "Hi", "answers": ["a"], "score": 3, "extra": None, "who": {"id": 1}}
    with pytest.raises(ValueError, match="no known preference format") as caught:
        detect_format(row.keys(), row)
    message = str(caught.value)
    assert "question (text), answers (list of text), score (int), extra (null)" in message
    assert all(name in message for name in FORMATS)


CONVERSATION = [
    {"role": "user", "content": "Name a fruit."},
    {"role": "assistant", "content": "Why?"},
    {"role": "user", "content": "I am hungry."},
]


def as_message(content: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": content}]


def as_transcript(turns: list[dict[str, str]]) -> str:
    speakers = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{speakers[turn['role']]}: {turn['content']}" for turn in turns)


def read_detected(row: dict) -> bytes:
    spec = SourceSpec(name="demo", path="x", origin="human", licence="MIT")
    parsed = FORMATS[detect_format(row.keys(), row)].reader(spec, seed=0)(row, 0)
    return parsed.pair.pair_id


def test_one_pair_has_one_identity_in_every_conversational_layout():
    good, bad = as_message("An apple."), as_message("A stone.")
    whole = [CONVERSATION + good, CONVERSATION + bad]
    layouts = [
        {"prompt": CONVERSATION, "chosen": good, "rejected": bad},
        {"chosen": whole[0], "rejected": whole[1]},
        {"chosen": as_transcript(whole[0]), "rejected": as_transcript(whole[1])},
    ]
    assert len({read_detected(row) for row in layouts}) == 1


def test_one_pair_has_one_identity_in_every_single_turn_layout():
    ask = CONVERSATION[:1]
    text = ask[0]["content"]
    layouts = [
        {"prompt": ask, "chosen": as_message("Apple"), "rejected": as_message("Stone")},
        {"prompt": text, "chosen": "Apple", "rejected": "Stone"},
        {"chosen": f"{text}\nApple", "rejected": f"{text}\nStone"},
        {
            "prompt": text,
            "response_a": "Stone",
            "response_b": "Apple",
            "votes": [{"worker": "w", "value": "b"}],
        },
    ]
    assert len({read_detected(row) for row in layouts}) == 1
