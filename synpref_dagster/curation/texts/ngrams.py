r"""Word and character n-grams of many texts at once, as 64-bit hashes without a regex.

Words are exactly what `\b\w\w+\b` finds in the lower-cased text (CountVectorizer's tokens): runs
of at least two word characters. Texts are joined, looked at as code points, and hashed with
prefix sums of a polynomial, so that each step is one pass over an array. Equal grams have equal
hashes always; different grams may share one, so whoever uses a hit confirms it on the words.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

WORD = re.compile(r"\b\w\w+\b")
NUM_CODE_POINTS = 0x110000
BATCH_CHARS = 1 << 18
"""Characters per batch: large enough to amortise NumPy calls, small enough for the cache."""

# Scripts written without spaces between words; \w makes one long word of a whole clause there.
UNSEGMENTED_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark and zero
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x20000, 0x3FFFF),  # Han extensions B and later
)
# Lower-casing these depends on their neighbours or gives two characters: left to str.lower.
_CONTEXTUAL_CAPITALS = ("\u0130", "\u03a3")
_CHAR_BASE = 0x9E3779B97F4A7C15
_WORD_BASE = 0xC2B2AE3D27D4EB4F
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Grams:
    """The n-grams of a run of texts, in text order."""

    hashes: np.ndarray
    """(g,) uint64: one hash per gram."""
    positions: np.ndarray
    """(g,) int64: index of the gram's first unit (word or character) in the whole run."""
    first_unit: np.ndarray
    """(t + 1,) int64: index of each text's first unit; the last entry is the number of units."""

    def owners(self, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(text, unit within the text) of the given gram indices, two int64 arrays."""
        positions = self.positions[grams]
        texts = np.searchsorted(self.first_unit, positions, side="right") - 1
        return texts, positions - self.first_unit[texts]

    @property
    def num_units(self) -> np.ndarray:
        """(t,) int64: number of units of each text."""
        return np.diff(self.first_unit)


def words(text: str) -> list[str]:
    """Words of a text as CountVectorizer sees them: lower case, two word characters or more.

    >>> words("I sort 5 numbers: don't C++!")
    ['sort', 'numbers', 'don']
    """
    return WORD.findall(text.lower())


def unsegmented_characters(text: str) -> str:
    """The characters of scripts without word spaces, in order, all others left out.

    >>> unsegmented_characters("Was heisst 你好, 世界?")
    '你好世界'
    """
    return "".join(letter for letter in text if is_unsegmented(ord(letter)))


def is_unsegmented(code_point: int) -> bool:
    """Whether a code point belongs to a script without word spaces."""
    return any(low <= code_point <= high for low, high in UNSEGMENTED_RANGES)


def text_batches(texts: Sequence[str], max_chars: int = BATCH_CHARS) -> Iterator[range]:
    """Index ranges of consecutive texts of at most `max_chars` together; one long text is alone."""
    start = total = 0
    for index, text in enumerate(texts):
        if index > start and total + len(text) > max_chars:
            yield range(start, index)
            start, total = index, 0
        total += len(text) + 1
    if start < len(texts):
        yield range(start, len(texts))


def word_grams(texts: Sequence[str], n: int) -> Grams:
    """Hashes of all runs of n words within each text."""
    joined, text_starts = _joined(texts)
    codes = _word_codes(joined)
    # A separator stands around every text: runs of word characters never cross texts.
    is_word = codes != 0
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    long_enough = ends - starts > 1
    starts, ends = starts[long_enough], ends[long_enough]
    hashes = _mixed(_window_hashes(codes, starts, ends, base=_CHAR_BASE))
    return _grams(hashes, np.searchsorted(starts, text_starts), n)


def character_grams(texts: Sequence[str], n: int) -> Grams:
    """Hashes of all runs of n characters of unsegmented scripts, other characters left out."""
    joined, text_starts = _joined(texts)
    if joined.isascii():
        return _grams(np.empty(0, dtype=np.uint64), np.zeros(len(text_starts), np.int64), n)
    codes = _code_points(joined)
    places = np.flatnonzero(_unsegmented_table()[codes])
    hashes = _mixed(codes[places].astype(np.uint64))
    return _grams(hashes, np.searchsorted(places, text_starts), n)


@dataclass(frozen=True, slots=True)
class Unit:
    """What n-grams are made of, counted quickly and spelled out exactly."""

    grams_of: Callable[[Sequence[str], int], Grams]
    """(texts, n) -> hashes of all n-grams."""
    units_of: Callable[[str], Sequence[str]]
    """text -> its units, in the same order."""


WORDS = Unit(word_grams, words)
CHARACTERS = Unit(character_grams, unsegmented_characters)


def _grams(units: np.ndarray, first_unit: np.ndarray, n: int) -> Grams:
    """n-grams over hashed units (u,) uint64 that do not cross the given starts of texts."""
    num_grams = max(len(units) - n + 1, 0)
    positions = np.arange(num_grams)
    hashes = _window_hashes(units, positions, positions + n, base=_WORD_BASE)
    # The n - 1 positions before a text's first unit would run into that text.
    inside = np.ones(num_grams, dtype=bool)
    crossing = (first_unit[1:-1, None] - np.arange(1, n)).ravel()
    inside[crossing[(crossing >= 0) & (crossing < num_grams)]] = False
    return Grams(hashes[inside], positions[inside], first_unit)


def _window_hashes(
    values: np.ndarray, starts: np.ndarray, ends: np.ndarray, *, base: int
) -> np.ndarray:
    """Polynomial hash of values[start:end] per window, the same wherever the window stands.

    hash = sum over k of values[start + k] * base**k modulo 2**64: a difference of prefix sums
    times an inverse power, which exists because the base is odd.
    """
    powers, inverses = _powers(base, max(len(values), 1).bit_length())
    prefix = np.empty(len(values) + 1, dtype=np.uint64)
    prefix[0] = 0
    np.multiply(values, powers[: len(values)], out=prefix[1:])
    np.cumsum(prefix[1:], out=prefix[1:])
    return (prefix[ends] - prefix[starts]) * inverses[starts]


def _joined(texts: Sequence[str]) -> tuple[str, np.ndarray]:
    """The texts with a line feed before, between and after, and where each text starts.

    The starts are (t + 1,) int64, the last one being where a next text would start.
    """
    joined = "\n".join(["", *texts, ""])
    if not joined.isascii() and any(letter in joined for letter in _CONTEXTUAL_CAPITALS):
        texts = [text.lower() for text in texts]
        joined = "\n".join(["", *texts, ""])
    text_starts = np.ones(len(texts) + 1, dtype=np.int64)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    text_starts[1:] += np.cumsum(lengths + 1)
    return joined, text_starts


def _word_codes(joined: str) -> np.ndarray:
    """(c,) uint8 or uint32: lower-cased code point of every word character, 0 for any other."""
    table = _lowered_words(128).astype(np.uint8).tobytes().ljust(256, b"\x00")
    if joined.isascii():
        return np.frombuffer(joined.encode("ascii").translate(table), dtype=np.uint8)
    # Most characters are ASCII even here: translating bytes is far cheaper than a table look-up.
    codes = _code_points(joined)
    narrow = np.minimum(codes, 128).astype(np.uint8).tobytes().translate(table)
    lowered = np.frombuffer(narrow, dtype=np.uint8).astype(np.uint32)
    wide = np.flatnonzero(codes >= 128)
    lowered[wide] = _lowered_words(NUM_CODE_POINTS)[codes[wide]]
    return lowered


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


@lru_cache(maxsize=2)
def _lowered_words(num_code_points: int) -> np.ndarray:
    """(num_code_points,) uint32: lower case of a word character, 0 for any other character."""
    lowered = [chr(code).lower()[0] for code in range(num_code_points)]
    is_word = [letter.isalnum() or letter == "_" for letter in lowered]
    return np.where(is_word, [ord(letter) for letter in lowered], 0).astype(np.uint32)


@lru_cache(maxsize=1)
def _unsegmented_table() -> np.ndarray:
    table = np.zeros(NUM_CODE_POINTS, dtype=bool)
    for low, high in UNSEGMENTED_RANGES:
        table[low : high + 1] = True
    return table


@lru_cache(maxsize=8)
def _powers(base: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers 0, 1, ... of an odd base and of its inverse, (2**bits,) uint64 each."""
    inverse = pow(base, -1, 1 << 64)
    tables = []
    for factor in (base, inverse):
        table = np.full(1 << bits, factor, dtype=np.uint64)
        table[0] = 1
        tables.append(np.cumprod(table))
    return tables[0], tables[1]


def _mixed(values: np.ndarray) -> np.ndarray:
    """The values multiplied and folded, so that sums of them carry no pattern of the letters."""
    mixed = values * _MIX
    mixed ^= mixed >> _SHIFT
    return mixed
