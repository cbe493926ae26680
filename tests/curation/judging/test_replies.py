"""Replies are read strictly, then tolerantly, and what is unclear is a typed failure."""

import json
import time

import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.judging.prompts import PAIRWISE, PERSONAL_DATA
from synpref_dagster.curation.judging.replies import answer_part, parse_reply, verdict_from_reply
from synpref_dagster.pairs.texts import storable


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


NAMES = ["reason", "plan", "draft", "cot", "chain_of_thought", "thought_process"]
NAMES += ["inner_monologue", "Überlegung", "my-notes", "x:y"]
DRAFT = f"draft: {reply('candidate_2', 'x')}"


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"),
        ("", "</think>"),  # the template wrote the beginning
        ("<thinking>", "</thinking>"),
        ("<THOUGHT>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),
        ('<think lang="en">', "</think >"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("analysisWe compare. ", "assistantfinal"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("[REASONING]", "[/REASONING]"),
        ("<|think|>", "<|/think|>"),
        ("<|think|>", "<|end_of_think|>"),
        ("<|think_start|>", "<|think_end|>"),
        ("<|begin▁of▁thinking|>", "<|end▁of▁thinking|>"),
        ("<｜begin▁of▁thinking｜>", "<｜end▁of▁thinking｜>"),
        ("<unused94>thought\n", "<unused95>"),
        ("<!-- ", " -->"),
        ("<inner monologue>", "</inner monologue>"),
        *((f"<{name}>", f"</{name}>") for name in NAMES),
        ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ],
)
def test_only_what_follows_the_last_thought_counts(begin, end):
    thought = f"{begin}{DRAFT} no.{end}"
    assert read(f"{thought}\n{reply('candidate_1')}").fields["verdict"] == "candidate_1"
    assert read(f"{thought}{thought}{reply('tie')}").fields["verdict"] == "tie"
    assert read(f"{thought}\n\nCandidate 1 is better.").failure == "unparsable"
    assert read(thought).failure == "unparsable"


@pytest.mark.parametrize(
    "begin",
    [
        *(
            "<think>",
            "<thinking>",
            "[THINK]",
            "<|channel|>analysis",
            "<seed:think>",
            "<scratchpad>",
        ),
        *("<|think|>", "<|begin▁of▁thinking|>", "<unused94>thought", "<|plan|>", "<|musing|>"),
        *("<!--", "```thought\n", "< plan >", '<step n="1">', "<plan/>"),
        *(f"<{name}>" for name in NAMES),
    ],
)
def test_a_thought_that_never_ends_is_an_abstention(begin):
    assert read(f"{begin}{DRAFT} let me check").failure == "unfinished_thought"
    assert read(f"{reply('tie')} {begin} or not?").failure == "unfinished_thought"
    assert read(f"<think>a</think>{begin}{DRAFT}").failure == "unfinished_thought"


KNOWN = ["final", "answer", "output", "json", "result", "results", "verdict", "br", "hr", "pre"]
KNOWN += ["code", "s", "eos", "bos", "pad"]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.from_regex(r"[A-Za-z][a-z_]{0,12}", fullmatch=True).filter(lambda x: x.lower() not in KNOWN)
)
def test_an_object_within_a_tag_that_nobody_knows_is_no_verdict(name):
    draft, answer = reply("candidate_2"), reply("tie")
    for text in (f"<{name}>{draft}", f"<{name}>{draft}</{name}>", f"<{name}>\n{draft} or {draft}"):
        assert read(text).fields is None
    assert read(f"<{name}>{draft}</{name}>{answer}").fields["verdict"] == "tie"
    assert read(f"{draft}</{name}>{answer}").fields["verdict"] == "tie"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<answer>", "</answer>"),
        ("<final_answer>", "</final_answer>"),
        ("<plan>first</plan><output>", "</output>"),
        ("<json>\n```json\n", "\n```\n</json>"),
        ("", "</s>"),
        ("", "<|im_end|>"),
        ("<|im_start|>assistant\n", "<|im_end|>\n"),
        ("", "<end_of_turn>"),
        ("", "<｜end▁of▁sentence｜>"),
        ("Both write `List<String>` and `<div>`. ", ""),
        ("One has 1 < 2, the other 3 > 2. ", ""),
        ("The page <div>x</div> is the same. ", ""),
    ],
)
def test_tags_around_an_answer_and_what_is_quoted_hide_nothing(before, after):
    assert read(f"{before}{reply('tie', 'says </b> and <b>')}{after}").fields["verdict"] == "tie"


@pytest.mark.parametrize("odd", ["<", "< ", "<a ", "<|", "<|think", "-->", "`", "</a ", "<a\t/"])
def test_a_reply_of_nothing_but_beginnings_of_tags_is_read_quickly(odd):
    start = time.monotonic()
    assert read(odd * 20_000).fields is None
    assert read(odd + " " * 50_000).fields is None
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "more",
    [
        '{"verdict": "candidate_2"}',  # lacks its reason
        '{"reason": "x", "verdict": "candidate_2", "sure": true}',
        '{"reason": "on second thought, "verdict": "candidate_2"}',  # broken
        '{"reason": "cut", "verdict": "candidate_2"',
        '{"verdict": "tie", "verdict": "candidate_2"}',
        "{" * 60 + reply("candidate_2"),  # behind more beginnings than are read
    ],
)
def test_a_reply_that_decides_twice_decides_nothing(more):
    for text in (f"{reply('candidate_1')} {more}", f"{more} {reply('candidate_1')}"):
        assert read(text).fields is None


def test_a_reply_may_repeat_itself_and_the_form_it_was_asked_for():
    form = '{"reason": text, "verdict": "candidate_1" | "candidate_2" | "tie"}'
    assert read(f"In the form {form}: {reply('tie')}").fields["verdict"] == "tie"
    assert read(f'{reply("tie")} so {{"verdict": "tie"}}').fields["verdict"] == "tie"
    levels = '{"evidence": text, "level": 0 | 1 | 2 | 10}'
    level = '{"evidence": "none", "level": 2}'
    assert parse_reply(f"{levels} {level}", PERSONAL_DATA.schema).fields["level"] == 2


def test_a_reply_that_begins_with_the_word_analysis_is_no_thought():
    assert read(f"Analysis: equal. {reply('tie')}").fields["verdict"] == "tie"


def test_a_reason_may_speak_of_thoughts():
    whole = reply("tie", "both write <think> and </think>")
    assert read(whole).fields["verdict"] == "tie"
    assert read(f"My answer: {reply('tie', 'both write <think>')}").fields["verdict"] == "tie"


def test_half_an_emoji_within_a_reply_is_escaped():
    found = read('{"reason": "nice \\ud83d \\u0000", "verdict": "tie"}')
    assert found.fields == {"reason": "nice \\ud83d \\x00", "verdict": "tie"}


@given(st.text(), st.sampled_from(["</think>", "[/THINK]"]), st.text())
def test_what_stands_before_the_end_of_a_thought_is_never_the_answer(thought, end, rest):
    assert answer_part(f"{thought}{end}") == ""
    assert read(f"{thought}{reply('tie')}{end}{rest}").fields is None


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
    assert (found.choice, found.reason) == (verdict, storable(reason))
