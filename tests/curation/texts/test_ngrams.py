"""Batched hashes agree with the regex tokeniser, gram by gram, on any Unicode text."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.texts.ngrams import (
    CHARACTERS,
    WORDS,
    Unit,
    character_grams,
    is_unsegmented,
    text_batches,
    unsegmented_characters,
    word_grams,
    words,
)

# Accents, capitals whose lower case has two characters or depends on its neighbours, ligatures,
# scripts without spaces, combining marks, zero-width characters, quotes, digits of other scripts.
TRICKY = (
    "aAbB09_ .,'’\n\t\u00e9\u0130\u0131\u03a3\u03c2\u00df\u017f\ufb01\u1e9e\u212a中文字カﾅกำ"
    "\u0301\u200b\u200d\u0660²½Ⅷ𝔘𐐀😀\u00a0\u2028"
)
unicode_text = st.text(st.sampled_from(TRICKY) | st.characters(), max_size=60)

# golden values of the tokeniser: lower case, single characters and punctuation dropped
SORTING = (
    "I have a list of 5 numbers: 1, 2, 3, 4, 5. How do I sort it in Python, using only a loop and "
    "no built-in function?"
)


def reference_grams(text: str, n: int, unit: Unit = WORDS) -> list[tuple[str, ...]]:
    units = unit.units_of(text)
    return [tuple(units[start : start + n]) for start in range(len(units) - n + 1)]


@pytest.fixture(scope="module")
def analyzer():
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer().build_analyzer()


def test_the_golden_prompt_has_eighteen_words_and_six_13_grams():
    assert " ".join(words(SORTING)) == (
        "have list of numbers how do sort it in python using only loop and no built in function"
    )
    assert len(words(SORTING)) == 18
    assert len(word_grams([SORTING], 13).hashes) == 6
    assert sum(len(word_grams([SORTING], n).hashes) for n in range(7, 14)) == 63


def test_a_short_prompt_has_no_13_gram_and_no_7_gram():
    assert words("Write a poem about love") == ["write", "poem", "about", "love"]
    for n in (7, 13):
        assert len(word_grams(["Write a poem about love"], n).hashes) == 0


def test_fragments_of_one_character_vanish():
    assert words("don't C++ x+1") == ["don"]


@given(unicode_text)
@settings(max_examples=300, deadline=None)
def test_words_equal_count_vectorizer_tokens(analyzer, text):
    assert words(text) == analyzer(text)


def test_words_equal_count_vectorizer_tokens_for_every_code_point(analyzer):
    # Each code point between letters and alone, surrogates included.
    for start in range(0, 0x110000, 0x2000):
        text = " ".join(f"a{chr(code)}b {chr(code)}" for code in range(start, start + 0x2000))
        assert words(text) == analyzer(text)
        (count,) = word_grams([text], 1).num_units
        assert count == len(words(text))


def assert_same_grams(texts: list[str], n: int, unit: Unit) -> None:
    grams = unit.grams_of(texts, n)
    found_text, found_start = grams.owners(np.arange(len(grams.hashes)))
    expected = [
        (text, start, gram)
        for text, content in enumerate(texts)
        for start, gram in enumerate(reference_grams(content, n, unit))
    ]
    assert list(zip(found_text.tolist(), found_start.tolist(), strict=True)) == [
        (text, start) for text, start, _ in expected
    ]
    assert grams.num_units.tolist() == [len(unit.units_of(content)) for content in texts]
    # Equal grams have equal hashes, different ones different hashes (by luck of 64 bits).
    by_gram: dict[tuple[str, ...], set[int]] = {}
    for (_, _, gram), value in zip(expected, grams.hashes.tolist(), strict=True):
        by_gram.setdefault(gram, set()).add(value)
    assert all(len(values) == 1 for values in by_gram.values())
    assert len(set().union(*by_gram.values())) == len(by_gram)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The lower case of dotted I is two characters, the second one no word character.
        ("a\u0130bc \u0130stanbul", ["ai", "bc", "stanbul"]),
        # Sigma is written differently at the end of a word.
        ("\u039f\u0394\u039f\u03a3 \u03a3\u03a3", ["\u03bf\u03b4\u03bf\u03c2", "\u03c3\u03c2"]),
    ],
)
def test_capitals_whose_lower_case_needs_care_are_hashed_as_the_words_are(text, expected):
    assert words(text) == expected
    assert_same_grams([text, *expected], 1, WORDS)


@given(st.lists(unicode_text, max_size=6), st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_word_grams_equal_the_regex_grams(texts, n):
    assert_same_grams(texts, n, WORDS)


@given(st.lists(unicode_text, max_size=6), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_character_grams_equal_the_filtered_characters(texts, n):
    assert_same_grams(texts, n, CHARACTERS)


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=80), max_size=6), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_ascii_texts_take_the_short_way_to_the_same_hashes(texts, n):
    assert_same_grams(texts, n, WORDS)
    # One letter outside ASCII switches the whole batch to code points.
    wide = word_grams([*texts, "ą"], n)
    assert wide.hashes.tolist() == word_grams(texts, n).hashes.tolist()


def test_hashes_do_not_depend_on_neighbours_or_case():
    alone = word_grams(["The quick brown fox"], 2).hashes.tolist()
    among = word_grams(["x" * 50, "THE QUICK, brown-fox!", "ąę"], 2)
    text, _ = among.owners(np.arange(len(among.hashes)))
    assert among.hashes[text == 1].tolist() == alone


def test_no_texts_have_no_grams():
    for grams_of in (word_grams, character_grams):
        assert len(grams_of([], 3).hashes) == 0
        assert len(grams_of(["", ""], 3).hashes) == 0


def test_batches_cover_every_text_once_and_respect_the_limit():
    texts = ["x" * size for size in (3, 3, 20, 1, 1, 9, 0, 0)]
    batches = list(text_batches(texts, max_chars=10))
    assert [number for batch in batches for number in batch] == list(range(8))
    assert batches == [range(2), range(2, 3), range(3, 5), range(5, 7), range(7, 8)]
    assert list(text_batches([])) == []


def test_unsegmented_scripts_are_those_without_word_spaces():
    assert all(is_unsegmented(ord(letter)) for letter in "中カかกกြខ々ｶ𠀀")
    assert not any(is_unsegmented(ord(letter)) for letter in "aé한글אعд。、!１ ")
    assert unsegmented_characters("1. 你好, world 世界。") == "你好世界"
