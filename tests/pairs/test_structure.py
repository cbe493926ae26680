"""What shows nothing says nothing: texts of white space and unseen characters are empty."""

import unicodedata

import pytest

from synpref_dagster.pairs.structure import UNSEEN, seen, structural_reasons

ASKED = [{"role": "user", "content": "Name a fruit."}]
NOTHING = [
    "\u200b",
    "\ufeff",
    "\u00ad",
    "\u200d\u200c",
    " \u2060\n",
    "\u3164",
    "\u2800",
    "\U000e0041",
]


@pytest.mark.parametrize("text", NOTHING)
def test_a_text_of_unseen_characters_is_empty_wherever_it_stands(text):
    assert structural_reasons(ASKED, text, "A stone.") == ("empty_response",)
    assert structural_reasons([{"role": "user", "content": text}], "a", "b") == ("empty_turn",)


@pytest.mark.parametrize("text", NOTHING)
def test_responses_that_differ_in_unseen_edges_are_one_response(text):
    assert structural_reasons(ASKED, f"{text}Apple", "Apple") == ("identical_responses",)


def test_what_joins_letters_within_a_text_stays_a_difference():
    assert structural_reasons(ASKED, "می\u200cخواهم", "میخواهم") == ()
    assert seen("👩\u200d👧") == "👩\u200d👧"


def test_unseen_characters_are_controls_marks_and_fillers_never_letters_or_white_space():
    kinds = {unicodedata.category(character) for character in UNSEEN}
    assert kinds <= {"Cc", "Cf", "Mn", "Lo", "So", "Cn"}
    named = {c for c in UNSEEN if unicodedata.category(c) in ("Lo", "So")}
    assert named == set("\u115f\u1160\u3164\uffa0\u2800")
    assert not any(character.isspace() for character in UNSEEN)
