"""A searchable set of n-gram hashes that confirms every hit on the words themselves.

A bitmap answers most lookups with no in one memory access; what passes is searched in the sorted
hashes; what is found there is compared unit by unit, so a hash collision never becomes a hit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from synpref_dagster.curation.texts.ngrams import Grams, Unit, text_batches

BITS_PER_GRAM = 64
"""Bitmap size per gram: at most one lookup in 64 of an unknown gram passes it."""
MAX_BITMAP_BITS = 28
"""2**28 bits are 32 MiB; beyond four million grams the bitmap grows denser instead of larger."""


@dataclass(frozen=True, slots=True)
class GramIndex:
    """All n-grams of some reference texts; m is their number, repetitions included."""

    unit: Unit
    """What the grams are made of: words or characters."""
    n: int
    """Units per gram."""
    texts: tuple[str, ...]
    """The reference texts."""
    hashes: np.ndarray
    """(m,) uint64, sorted; equal hashes in order of appearance."""
    owners: np.ndarray
    """(m,) int32: reference text of each gram."""
    starts: np.ndarray
    """(m,) int32: first unit of each gram within its text."""
    bitmap: np.ndarray
    """(2**k / 8,) uint8: bit h >> (64 - k) is set for every gram hash h."""

    def __len__(self) -> int:
        return len(self.hashes)

    def candidates(self, hashes: np.ndarray) -> np.ndarray:
        """Indices, int64 ascending, of the given hashes that the index holds."""
        if not len(self.hashes) or not len(hashes):
            return np.empty(0, dtype=np.int64)
        bits = hashes >> _shift(self.bitmap)
        in_byte = (bits & np.uint64(7)).astype(np.uint8)
        passing = np.flatnonzero((self.bitmap[bits >> np.uint64(3)] >> in_byte) & np.uint8(1))
        wanted = hashes[passing]
        places = np.searchsorted(self.hashes, wanted)
        places[places == len(self.hashes)] = 0
        return passing[self.hashes[places] == wanted]

    def matches(
        self, grams: Grams, texts: Sequence[str], *, max_units: int
    ) -> Iterator[tuple[int, int, Sequence[str]]]:
        """First confirmed match of every text that has one.

        Args:
            grams: `unit.grams_of(texts, n)`.
            texts: the texts compared.
            max_units: a match is extended to the right up to this many units.

        Yields:
            (text, reference text, shared units), texts ascending.
        """
        candidates = self.candidates(grams.hashes)
        reference_units: dict[int, Sequence[str]] = {}
        matched, opened = -1, -1
        units: Sequence[str] = ()
        for gram, text, start in zip(candidates, *grams.owners(candidates), strict=True):
            if text == matched:
                continue
            if text != opened:
                opened, units = int(text), self.unit.units_of(texts[text])
            match = self._confirm(
                int(grams.hashes[gram]), units[start : start + max_units], cache=reference_units
            )
            if match is not None:
                matched = opened
                yield (opened, *match)

    def _confirm(
        self, gram_hash: int, units: Sequence[str], *, cache: dict[int, Sequence[str]]
    ) -> tuple[int, Sequence[str]] | None:
        """(reference text, shared units) of the first gram that equals the first n units."""
        key = np.uint64(gram_hash)
        low, high = (int(np.searchsorted(self.hashes, key, side)) for side in ("left", "right"))
        for place in range(low, high):
            owner, start = int(self.owners[place]), int(self.starts[place])
            if owner not in cache:
                cache[owner] = self.unit.units_of(self.texts[owner])
            reference = cache[owner][start : start + len(units)]
            if reference[: self.n] == units[: self.n]:
                return owner, units[: _shared_length(reference, units)]
        return None


def build_gram_index(texts: Sequence[str], n: int, *, unit: Unit) -> GramIndex:
    """Index over all n-grams of the texts."""
    hashes = [np.empty(0, dtype=np.uint64)]
    owners, starts = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for batch in text_batches(texts):
        grams = unit.grams_of(texts[batch.start : batch.stop], n)
        text, start = grams.owners(np.arange(len(grams.hashes)))
        hashes.append(grams.hashes)
        owners.append(text + batch.start)
        starts.append(start)
    unsorted = np.concatenate(hashes)
    order = np.argsort(unsorted, kind="stable")
    return GramIndex(
        unit=unit,
        n=n,
        texts=tuple(texts),
        hashes=unsorted[order],
        owners=np.concatenate(owners)[order].astype(np.int32),
        starts=np.concatenate(starts)[order].astype(np.int32),
        bitmap=_bitmap(unsorted[order]),
    )


def _bitmap(hashes: np.ndarray) -> np.ndarray:
    """Bitmap of sorted hashes, a power of two of bits, at least 64 per hash up to the limit."""
    bits = min(max(16, (len(hashes) * BITS_PER_GRAM).bit_length()), MAX_BITMAP_BITS)
    bitmap = np.zeros(1 << (bits - 3), dtype=np.uint8)
    if len(hashes):
        places = hashes >> _shift(bitmap)
        of_byte, first = np.unique(places >> np.uint64(3), return_index=True)
        flags = np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
        bitmap[of_byte] = np.bitwise_or.reduceat(flags, first)
    return bitmap


def _shift(bitmap: np.ndarray) -> np.uint64:
    """How far a hash is shifted to the right to give a bit number of the bitmap."""
    return np.uint64(64 - 3 - (len(bitmap).bit_length() - 1))


def _shared_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common beginning."""
    pairs = zip(first, second, strict=False)
    differing = (place for place, (one, other) in enumerate(pairs) if one != other)
    return next(differing, min(len(first), len(second)))
