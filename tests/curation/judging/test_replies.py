"""Replies are read strictly, then tolerantly, and what is unclear is a typed failure."""

import json

import pytest
from hypothesis import given, strategies as st

from synpref_dagster.curation.judging.prompts import PAIRWISE, PERSONAL_DATA
from synpref_dagster.curation.judging.replies import parse_reply, verdict_from_reply


def reply(verdict, reason="why"):
    return json.dumps({"reason": reason, "verdict": verdict})


def read(text):
    return parse_reply(text, PAIRWISE.schema)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{reply('tie')}\n```",
        f"Certainly! {reply('tie')} Anything else?",
        f"<think>{reply('candidate_1')}</think>{reply('tie')}",
        f'{{"unrelated": 1}} {reply("tie")}',
        f"{reply('tie', 'first')} {reply('tie', 'second')}",
    ],
)
def test_text_around_one_object_is_tolerated(text):
    found = read(text)
    assert found.fields["verdict"] == "tie"
    assert found.reading == "tolerant"


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("", "empty_reply"),
        (" \n", "empty_reply"),
        ("candidate_1", "unparsable"),
        ("{" * 5000, "unparsable"),
        ("[" * 5000, "unparsable"),
        ('"candidate_1"', "unparsable"),
        ('{"verdict": "candidate_1"}', "off_schema"),
        ('{"reason": "r", "verdict": "tie", "more": 1}', "off_schema"),
        ('{"reason": 3, "verdict": "tie"}', "off_schema"),
        (reply("both"), "off_schema"),
        ('{"reason": "r", "verdict": "tie", "verdict": "candidate_1"}', "unparsable"),
        (reply("candidate_1") + reply("candidate_2"), "ambiguous"),
    ],
)
def test_what_is_unclear_is_a_typed_abstention(text, failure):
    found = verdict_from_reply(read(text))
    assert (found.choice, found.reason, found.confidence) == ("abstain", failure, 0.0)


def test_a_truth_value_is_no_level():
    text = '{"evidence": "none", "level": true}'
    assert parse_reply(text, PERSONAL_DATA.schema).failure == "off_schema"


@given(st.text())
def test_no_text_without_a_whole_verdict_is_a_label(text):
    found = verdict_from_reply(read(text))
    assert found.choice == "abstain"


@given(st.sampled_from(["candidate_1", "candidate_2", "tie"]), st.text())
def test_a_well_formed_reply_is_its_verdict_whatever_the_reason_says(verdict, reason):
    found = verdict_from_reply(read(reply(verdict, reason)))
    assert (found.choice, found.reason) == (verdict, reason)
