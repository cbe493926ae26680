"""Anthropic HH transcripts: parsed at paragraph starts, compared strictly."""

import pytest

from synpref_dagster.sources.formats.transcripts import HH_TRANSCRIPTS, parse_transcript
from synpref_dagster.sources.records import RowRejected, SourceSpec

SPEC = SourceSpec(name="hh", path="x", origin="human", licence="MIT")
ASK = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Sing!"


def read(chosen: object, rejected: object):
    return HH_TRANSCRIPTS.reader(SPEC, seed=0)({"chosen": chosen, "rejected": rejected}, 0).pair


def test_a_transcript_becomes_turns_with_stripped_contents():
    pair = read(f"{ASK}\n\nAssistant:  La la.\n", f"{ASK}\n\nAssistant: No.")
    assert [turn["role"] for turn in pair.conversation] == ["user", "assistant", "user"]
    assert [turn["content"] for turn in pair.conversation] == ["Hi", "Yes?", "Sing!"]
    assert (pair.chosen, pair.rejected) == ("La la.", "No.")


def test_a_speaker_named_inside_a_paragraph_starts_no_turn():
    turns = parse_transcript("\n\nHuman: Who?\n\nAssistant: Human: me.\nAssistant: no")
    assert [turn["content"] for turn in turns] == ["Who?", "Human: me.\nAssistant: no"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "reasons"),
    [
        (f"{ASK}\n\nAssistant: ", f"{ASK}\n\nAssistant: No.", ("empty_response",)),
        (f"{ASK}\n\nAssistant: A", f"{ASK}\n\nAssistant: A ", ("identical_responses",)),
        (f"{ASK}\n\nAssistant: A", "\n\nHuman: Ho\n\nAssistant: B", ("prompt_not_shared",)),
        (
            f"{ASK}\n\nAssistant: A\n\nAssistant: B",
            f"{ASK}\n\nAssistant: C\n\nAssistant: D",
            ("prompt_not_shared", "roles_not_alternating", "conversation_not_ending_with_user"),
        ),
        (
            "\n\nHuman: a\n\nHuman: b\n\nAssistant: c",
            "\n\nHuman: a\n\nHuman: b\n\nAssistant: d",
            ("roles_not_alternating",),
        ),
        (ASK, f"{ASK} Now!", ("not_ending_with_response", "conversation_not_ending_with_user")),
        ("Once upon a time", f"{ASK}\n\nAssistant: A", ("not_a_transcript",)),
        (None, f"{ASK}\n\nAssistant: A", ("empty_response",)),
        (["a"], f"{ASK}\n\nAssistant: A", ("not_text",)),
    ],
)
def test_unsound_transcripts_are_rejected_with_all_reasons(chosen, rejected, reasons):
    with pytest.raises(RowRejected) as caught:
        read(chosen, rejected)
    assert caught.value.reasons == reasons
