"""Signatures estimate the similarity of texts, and similar texts meet in bands."""

import random

import numpy as np
import pytest

from synpref_dagster.curation.texts.minhash import (
    GRAM_UNITS,
    NUM_BANDS,
    NUM_HASHES,
    band_keys,
    estimated_similarity,
    meeting_probability,
    signatures,
)
from synpref_dagster.curation.texts.ngrams import BATCH_CHARS, words


def text_of(seed, count):
    draw = random.Random(seed)
    return " ".join(f"word{draw.randrange(10**9)}" for _ in range(count))


def grams(text):
    units = words(text)
    return {
        tuple(units[start : start + GRAM_UNITS]) for start in range(len(units) - GRAM_UNITS + 1)
    }


def similarity(first, second):
    return len(grams(first) & grams(second)) / len(grams(first) | grams(second))


@pytest.mark.parametrize("shared", [0, 100, 200, 280])
def test_the_estimate_has_no_bias_and_the_error_of_its_formula(shared):
    # 40 pairs of texts of 300 words that begin with the same words.
    firsts = [text_of(seed, 300) for seed in range(40)]
    seconds = [
        " ".join([*first.split()[:shared], *text_of(seed + 1000, 300 - shared).split()])
        for seed, first in enumerate(firsts)
    ]
    truth = similarity(firsts[0], seconds[0])
    error = estimated_similarity(signatures(firsts), signatures(seconds)) - truth
    standard = np.sqrt(truth * (1 - truth) / NUM_HASHES)
    assert abs(error.mean()) <= 3.5 * standard / np.sqrt(len(firsts)) + 1e-12
    assert error.std() <= 1.5 * standard + 1e-12


def test_a_signature_does_not_depend_on_the_texts_beside_it():
    texts = [text_of(seed, 40 + seed) for seed in range(20)] + [
        "",
        "Short",
        "你好世界，今天天气很好",
    ]
    together = signatures(texts)
    for text, row in zip(texts, together, strict=True):
        assert (signatures([text])[0] == row).all()
    long = text_of(1, BATCH_CHARS // 8)
    assert (signatures([texts[0], long, texts[1]])[[0, 2]] == together[:2]).all()


def test_case_and_punctuation_change_nothing_but_words_do():
    one, same, other = signatures(
        ["The cat sat on the mat today", "the CAT sat, on the mat - today!", "The dog lay on a rug"]
    )
    assert (one == same).all()
    assert (one != other).any()


def test_texts_of_few_words_are_compared_by_their_words():
    one, same, other = signatures(["Yes please", "yes, please!", "No thanks"])
    assert (one == same).all()
    assert not (one == other).any()


def test_scripts_without_spaces_are_compared_by_characters():
    first = "请用简单的语言解释一下为什么傍晚时分港口上空的天空会变成红色"
    found = signatures([first, first[:-1] + "橙", "今天我们去公园散步然后回家吃饭休息"])
    assert estimated_similarity(found[0], found[1]) > 0.7
    assert estimated_similarity(found[0], found[2]) < 0.1


def test_bands_agree_where_all_their_places_do():
    signature = signatures([text_of(1, 50)])
    changed = signature.copy()
    changed[0, 5] += 1  # the second place of the second band
    agree = band_keys(signature)[0] == band_keys(changed)[0]
    assert agree.tolist() == [band != 1 for band in range(NUM_BANDS)]


def test_texts_meet_as_often_as_the_formula_says():
    first = [text_of(seed, 300) for seed in range(200)]
    second = [
        " ".join([*text.split()[:240], *text_of(seed + 1000, 60).split()])
        for seed, text in enumerate(first)
    ]
    alike = similarity(first[0], second[0])
    met = (band_keys(signatures(first)) == band_keys(signatures(second))).sum(axis=1)
    for least in (1, 2):
        expected = meeting_probability(alike, min_bands=least)
        spread = np.sqrt(expected * (1 - expected) / len(first))
        assert abs((met >= least).mean() - expected) <= 4 * spread + 0.01
