"""MinHash signatures of many texts at once, and the bands that bring similar texts together.

A signature holds, for each of `NUM_HASHES` hash functions, the smallest value over the n-grams of a
text: two texts agree in one place with a probability equal to the Jaccard similarity of their
grams. Texts that agree in all places of a band meet under that band's key. Grams are those of
decontamination (`ngrams`): words of two characters or more, single characters where a script has no
spaces.
"""

from collections.abc import Sequence

import numpy as np

from synpref_dagster.curation.texts.ngrams import Grams, character_grams, text_batches, word_grams

GRAM_UNITS = 5
"""Words (or characters) of a gram; a text of fewer counts each of its words."""
NUM_BANDS, BAND_ROWS = 16, 4
NUM_HASHES = NUM_BANDS * BAND_ROWS
_SEED = 40_000_000
_HALF = np.uint64(32)


def signatures(texts: Sequence[str]) -> np.ndarray:
    """(t, NUM_HASHES) uint32: MinHash signature of every text.

    The share of places in which two signatures agree estimates the similarity of their texts, with
    a standard error of at most 0.0625. Texts without any word share the signature of no grams.
    """
    found = np.full((len(texts), NUM_HASHES), np.iinfo(np.uint32).max, dtype=np.uint32)
    for batch in text_batches(texts):
        hashes, owners = _grams(texts[batch.start : batch.stop])
        rows, starts = np.unique(owners, return_index=True)
        if len(rows):
            found[batch.start + rows] = _minima(hashes, starts)
    return found


def estimated_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) float: share of places in which the rows of two (n, NUM_HASHES) arrays agree."""
    return (first == second).mean(axis=-1)


def band_keys(signature: np.ndarray) -> np.ndarray:
    """(t, NUM_BANDS) uint64: one key per band, equal where all its `BAND_ROWS` places are."""
    bands = signature.reshape(len(signature), NUM_BANDS, BAND_ROWS).astype(np.uint64)
    keys = np.zeros((len(signature), NUM_BANDS), dtype=np.uint64)
    for place in range(BAND_ROWS):
        keys = (keys ^ bands[:, :, place]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def meeting_probability(similarity: float, *, min_bands: int = 1) -> float:
    """Probability that two texts of this similarity meet in at least `min_bands` bands.

    >>> round(meeting_probability(0.8, min_bands=2), 3), round(meeting_probability(0.3), 3)
    (0.997, 0.122)
    """
    agree = similarity**BAND_ROWS
    if min_bands == 1:
        return 1 - (1 - agree) ** NUM_BANDS
    once = NUM_BANDS * agree * (1 - agree) ** (NUM_BANDS - 1)
    return 1 - (1 - agree) ** NUM_BANDS - once


def _grams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (g,) uint64 of the grams of all texts, those of one text together, and their texts."""
    long = word_grams(texts, GRAM_UNITS)
    parts = [_owned(long)]
    if not all(map(str.isascii, texts)):
        parts.append(_owned(character_grams(texts, GRAM_UNITS)))
    covered = np.zeros(len(texts), dtype=bool)
    for _, owners in parts:
        covered[owners] = True
    if not covered.all():
        short = np.flatnonzero(~covered)
        hashes, owners = _owned(word_grams([texts[index] for index in short.tolist()], 1))
        parts.append((hashes, short[owners]))
    hashes, owners = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if len(parts) > 1:
        order = np.argsort(owners, kind="stable")
        hashes, owners = hashes[order], owners[order]
    return hashes, owners


def _owned(grams: Grams) -> tuple[np.ndarray, np.ndarray]:
    return grams.hashes, grams.owners(np.arange(len(grams.hashes)))[0]


def _minima(hashes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(t, NUM_HASHES) uint32: smallest value of each hash function over each run of grams."""
    rng = np.random.default_rng(_SEED)
    factors = rng.integers(0, 1 << 63, NUM_HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = rng.integers(0, 1 << 63, NUM_HASHES, dtype=np.uint64)
    found = np.empty((len(starts), NUM_HASHES), dtype=np.uint32)
    buffer = np.empty_like(hashes)
    for column in range(NUM_HASHES):
        # Multiply-shift: the upper half of an odd multiple is as good as drawn.
        np.multiply(hashes, factors[column], out=buffer)
        np.add(buffer, offsets[column], out=buffer)
        np.right_shift(buffer, _HALF, out=buffer)
        found[:, column] = np.minimum.reduceat(buffer.astype(np.uint32), starts)
    return found
