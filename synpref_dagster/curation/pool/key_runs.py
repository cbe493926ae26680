"""Runs of the key index: keys of consecutive shards, sorted by conversation (see `key_index`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.pool.marks import KEYED_COLUMNS, POOL_KEY_SCHEMA, pool_keys
from synpref_dagster.pairs.columns import from_numbers, to_numbers
from synpref_dagster.pairs.ids import id_keys
from synpref_dagster.storage import DatasetRef, Shard, read_manifest
from synpref_dagster.storage.dataset import read_shard

WORD_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSizes:
    """How many keys are held at a time, some 80 bytes each; results do not depend on it."""

    run: int = 4_000_000
    """Keys that are sorted at a time."""
    file: int = 250_000
    range: int = 500_000
    """Keys that are judged at a time."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Keys of whole conversations in the order of the pool."""

    keys: pa.Table
    shards: np.ndarray
    """int64 (n,): number of the shard that a key is from."""


class Run:
    """Sorted keys of some consecutive shards; ranges are asked for in ascending order."""

    def __init__(self, ref: DatasetRef, block: range) -> None:
        self.ref, self.block = ref, block
        self.files = read_manifest(ref).shards
        self._loaded: dict[tuple[int, bool], pa.Table] = {}

    def between(self, start: int, end: int, *, since: int) -> Portion:
        """Keys of conversations in [start, end) of shards from number `since` on."""
        if self.block.stop <= since:
            return _EMPTY
        portion = self._portion(start, end)
        return _only(portion, portion.shards >= since)

    def among(self, wanted: np.ndarray, start: int, end: int, *, before: int) -> Portion:
        """Keys in [start, end) of shards before number `before` whose conversation is wanted."""
        if self.block.start >= before:
            return _EMPTY
        if self.block.stop <= before:
            # Most conversations are nobody else's: look at them before anything else is read.
            leading = leading_words(self._slice(start, end, ids_only=True))
            if not _is_among(leading, wanted).any():
                return _EMPTY
        portion = self._portion(start, end)
        leading = leading_words(portion.keys)
        return _only(portion, (portion.shards < before) & _is_among(leading, wanted))

    def _portion(self, start: int, end: int) -> Portion:
        found = self._slice(start, end, ids_only=False)
        shards = to_numbers(found.column("shard"), null=-1).astype(np.int64) + self.block.start
        return Portion(found.select(POOL_KEY_SCHEMA.names), shards)

    def _slice(self, start: int, end: int, *, ids_only: bool) -> pa.Table:
        size = (1 << WORD_BITS) // len(self.files)
        first, last = start // size, (end - 1) // size
        # Ranges come in ascending order: what lies before this one is not asked for again.
        self._loaded = {key: each for key, each in self._loaded.items() if key[0] >= first}
        parts = [self._file(number, ids_only) for number in range(first, last + 1)]
        return pa.concat_tables([_sliced(part, start, end) for part in parts])

    def _file(self, number: int, ids_only: bool) -> pa.Table:
        if (number, ids_only) not in self._loaded:
            columns = ["conversation_id"] if ids_only else None
            found = read_shard(self.ref.uri, self.files[number], columns)
            self._loaded[number, ids_only] = found
        return self._loaded[number, ids_only]


def run_blocks(sizes: Sequence[int], *, max_keys: int) -> list[range]:
    """Blocks of consecutive shards whose keys lie in one run each.

    A block has 1, 2, 4, ... shards and begins at a multiple of that number, as long as it has no
    more than `max_keys` keys: when shards are added, all blocks but a few small ones stay.

    >>> run_blocks([10] * 7, max_keys=40)
    [range(0, 4), range(4, 6), range(6, 7)]
    """
    ends = np.array([0, *accumulate(sizes)])
    blocks, start = [], 0
    while start < len(sizes):
        size = 1
        while (
            start % (2 * size) == 0
            and start + 2 * size <= len(sizes)
            and ends[start + 2 * size] - ends[start] <= max_keys
        ):
            size *= 2
        blocks.append(range(start, start + size))
        start += size
    return blocks


def sorted_files(uri: str, shards: Sequence[Shard], *, file_keys: int) -> Iterator[pa.Table]:
    """A run: keys of some screened shards of `uri`, sorted, a table per range of leading words."""
    parts = []
    for number, shard in enumerate(shards):
        keys = pool_keys(read_shard(uri, shard, KEYED_COLUMNS))
        numbers = from_numbers(np.full(keys.num_rows, number, dtype=np.int32))
        parts.append(keys.append_column("shard", numbers))
    whole = pa.concat_tables(parts).combine_chunks()
    leading = leading_words(whole)
    order = np.argsort(leading, kind="stable")
    ranked = leading[order]
    for start, end in key_ranges(len(ranked), per_range=file_keys):
        low, high = _between(ranked, start, end)
        yield whole.take(from_numbers(order[low:high]))


def key_ranges(num_keys: int, *, per_range: int) -> list[tuple[int, int]]:
    """Equal ranges of the leading words, a power of two of them with at most `per_range` keys."""
    num_ranges = 1
    while num_keys > num_ranges * per_range:
        num_ranges *= 2
    size = (1 << WORD_BITS) // num_ranges
    return [(number * size, (number + 1) * size) for number in range(num_ranges)]


def _sliced(keys: pa.Table, start: int, end: int) -> pa.Table:
    low, high = _between(leading_words(keys), start, end)
    return keys.slice(low, high - low)


def _between(ranked: np.ndarray, start: int, end: int) -> tuple[int, int]:
    low = int(np.searchsorted(ranked, np.uint64(start)))
    # The end of the last range is no 64-bit number.
    whole = end >= 1 << WORD_BITS
    return low, len(ranked) if whole else int(np.searchsorted(ranked, np.uint64(end)))


def leading_words(keys: pa.Table) -> np.ndarray:
    """uint64 (n,): leading word of the conversation; equal for pairs of one conversation."""
    return np.ascontiguousarray(id_keys(keys.column("conversation_id"))[:, 0])


def _is_among(leading: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(n,) bool: which leading words are in `wanted`, ascending and not empty."""
    places = np.searchsorted(wanted, leading)
    places[places == len(wanted)] = 0
    return np.asarray(wanted[places] == leading)


def _only(portion: Portion, mask: np.ndarray) -> Portion:
    if mask.all():
        return portion
    rows = np.flatnonzero(mask)
    return Portion(portion.keys.take(from_numbers(rows)), portion.shards[rows])


def row_numbers(keys: pa.Table) -> np.ndarray:
    """int32 (n,): row of each key in its shard."""
    return to_numbers(keys.column("row"), null=-1)


_EMPTY = Portion(POOL_KEY_SCHEMA.empty_table(), np.zeros(0, dtype=np.int64))
