"""The index answers exactly: neither bitmap, search nor collisions change what is found."""

from dataclasses import replace

import numpy as np
import pytest

from synpref_dagster.curation.texts.gram_index import GramIndex, build_gram_index
from synpref_dagster.curation.texts.ngrams import WORDS, word_grams

TOP = np.uint64(2**64 - 1)


def index_of_hashes(*hashes: int) -> GramIndex:
    empty = build_gram_index([], 1, unit=WORDS)
    return replace(empty, hashes=np.array(sorted(hashes), dtype=np.uint64))


def matches(index: GramIndex, *texts: str, max_units: int) -> list[tuple[int, int, list[str]]]:
    grams = word_grams(texts, index.n)
    return [
        (text, owner, list(shared))
        for text, owner, shared in index.matches(grams, texts, max_units=max_units)
    ]


def test_every_gram_of_every_text_is_in_the_index():
    texts = ["red fox runs far", "red fox runs", "", "owl"]
    index = build_gram_index(texts, 2, unit=WORDS)
    assert len(index) == 5
    grams = word_grams(texts, 2)
    assert index.candidates(grams.hashes).tolist() == [0, 1, 2, 3, 4]
    assert index.candidates(word_grams(["fox red", "far owl"], 2).hashes).tolist() == []


def test_hashes_between_and_beyond_the_known_ones_are_unknown():
    index = index_of_hashes(5, 9)
    # With every bit set the bitmap lets everything pass: the search alone decides.
    index = replace(index, bitmap=np.full(8, 0xFF, dtype=np.uint8))
    assert index.candidates(np.array([3, 5, 7, 9, 11, TOP], dtype=np.uint64)).tolist() == [1, 3]


def test_the_bitmap_rejects_nearly_all_unknown_hashes():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{number}" for number in rng.integers(0, 10**9, 2_000))]
    index = build_gram_index(texts, 3, unit=WORDS)
    share_set = np.unpackbits(index.bitmap).mean()
    assert 1 / 130 < share_set < 1 / 60
    # The lowest and the highest hash have their bits at the two ends.
    bits = np.flatnonzero(np.unpackbits(index.bitmap, bitorder="little"))
    assert bits[0] == int(index.hashes[0]) * len(index.bitmap) * 8 >> 64
    assert bits[-1] == int(index.hashes[-1]) * len(index.bitmap) * 8 >> 64


def test_a_text_has_one_match_its_first():
    index = build_gram_index(["blue owl sings", "red fox runs far"], 2, unit=WORDS)
    found = matches(index, "a red fox runs", "no", "fox runs! blue owl, fox runs", max_units=3)
    assert found == [(0, 1, ["red", "fox", "runs"]), (2, 1, ["fox", "runs"])]


@pytest.mark.parametrize("text", ["blue owl", "red fox", "far red"])
def test_grams_that_share_a_hash_are_told_apart(monkeypatch, text):
    from synpref_dagster.curation.texts import ngrams

    monkeypatch.setattr(ngrams, "_MIX", np.uint64(0))
    index = build_gram_index(["blue owl", "red fox", "old crow"], 2, unit=WORDS)
    assert len(set(index.hashes.tolist())) == 1
    expected = {"blue owl": [(0, 0, ["blue", "owl"])], "red fox": [(0, 1, ["red", "fox"])]}
    assert matches(index, text, max_units=2) == expected.get(text, [])
