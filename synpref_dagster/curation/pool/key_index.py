"""The key index: which pairs of a pool repeat or contradict each other, out of core (App. D.1).

Keys of consecutive shards lie in runs (`SortedRun`), each sorted by conversation and cut into files
by the leading bits of the conversation. A pool that grew keeps its runs; new shards get runs of
their own, and those of equal size become one. The pool is compared range by range: of known shards
only pairs of conversations that the new ones speak about too.

Marks depend on the keys alone, never on the nights in which they came.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.pool.marks import (
    KEYED_COLUMNS,
    POOL_KEY_SCHEMA,
    Marks,
    mark_table,
    marks_of,
    pool_keys,
)
from synpref_dagster.pairs.columns import from_numbers, to_numbers
from synpref_dagster.pairs.ids import id_keys
from synpref_dagster.storage import (
    DatasetRef,
    Shard,
    build_dataset,
    find_manifest,
    join_uri,
    make_ref,
    read_manifest,
    revise_dataset,
    step_key,
)
from synpref_dagster.storage.dataset import read_shard
from synpref_dagster.storage.manifest import has_all_shards, reuse

WORD_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSizes:
    """How many keys are held at a time, some 80 bytes each; results do not depend on it."""

    run: int = 4_000_000
    """Keys that are sorted at a time."""
    file: int = 250_000
    range: int = 500_000
    """Keys that are compared at a time."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Keys of whole conversations in the order of the pool."""

    keys: pa.Table
    shards: np.ndarray
    """int64 (n,): number of the shard that a key is from."""


class SortedRun:
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
            leading = leading_keys(self._slice(start, end, ids_only=True))
            if not _is_among(leading, wanted).any():
                return _EMPTY
        portion = self._portion(start, end)
        leading = leading_keys(portion.keys)
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
    leading = leading_keys(whole)
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
    low, high = _between(leading_keys(keys), start, end)
    return keys.slice(low, high - low)


def _between(ranked: np.ndarray, start: int, end: int) -> tuple[int, int]:
    low = int(np.searchsorted(ranked, np.uint64(start)))
    # The end of the last range is no 64-bit number.
    whole = end >= 1 << WORD_BITS
    return low, len(ranked) if whole else int(np.searchsorted(ranked, np.uint64(end)))


def leading_keys(keys: pa.Table) -> np.ndarray:
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


VERSION = "1"


@dataclass(frozen=True, slots=True)
class MarkedPool:
    """Marks of a pool, one shard per shard of the pool, and what they cost."""

    marks: DatasetRef
    """`MARK_SCHEMA`."""
    num_new_shards: int
    """Shards whose pairs were compared."""
    num_known_shards: int
    """Shards that had been compared before, with nothing changed but what new ones say of them."""
    num_known_pairs_read: int
    """Pairs of known shards whose conversation new ones speak about."""


def mark_pool(screened: DatasetRef, *, uri: str, sizes: IndexSizes | None = None) -> MarkedPool:
    """What the pairs of a screened pool say about each other.

    Memory holds one run's keys, and the marks of new shards.

    Args:
        screened: `SCREENED_SCHEMA`, all shards in the order of the pool: the first of two equal
            pairs counts.
        uri: where runs and marks are kept.
        sizes: how many keys are held at a time.
    """
    pool = _Pool(screened, uri=uri, sizes=sizes or IndexSizes())
    target, num_shards = join_uri(uri, "marks"), len(pool.shards)
    step = step_key(version=VERSION, inputs=[screened.fingerprint], params={})
    if done := reuse(target, step=step):
        return MarkedPool(done, 0, num_shards, 0)
    base, num_known = _known(target, pool)
    found = _Found(num_known, num_shards)
    for portion in pool.portions(num_known):
        found.add(portion, pool)
    marks = revise_dataset(
        target,
        base,
        found.tables(base),
        num_shards=num_shards,
        step=step,
        meta={"screened": asdict(screened), "version": VERSION},
    )
    return MarkedPool(marks, num_shards - num_known, num_known, found.num_known_read)


def _known(target: str, pool: "_Pool") -> tuple[DatasetRef | None, int]:
    """The marks of an earlier, smaller state of the same pool, and its number of shards.

    None and 0 when a shard of it changed or left, when marks are lost or were made otherwise: then
    all pairs are compared again, by their keys.
    """
    manifest = find_manifest(target)
    if manifest is None or manifest.meta.get("version") != VERSION:
        return None, 0
    if not has_all_shards(target, manifest.shards):
        return None, 0
    before = read_manifest(DatasetRef(**manifest.meta["screened"])).shards
    if before != pool.shards[: len(before)]:
        return None, 0
    return make_ref(target, manifest), len(before)


class _Pool:
    """The keys of a pool, by run."""

    def __init__(self, screened: DatasetRef, *, uri: str, sizes: IndexSizes) -> None:
        self.screened, self.uri, self.sizes = screened, uri, sizes
        self.shards: tuple[Shard, ...] = read_manifest(screened).shards
        ends = accumulate(shard.num_rows for shard in self.shards)
        self.starts = np.array([0, *ends], dtype=np.int64)
        """Row of the pool at which each shard begins, and the end of the last."""

    def places(self, portion: Portion) -> np.ndarray:
        """int64 (n,): row of the pool of every key."""
        return self.starts[portion.shards] + row_numbers(portion.keys)

    def portions(self, num_known: int) -> Iterator[Portion]:
        """New keys, and the known ones of their conversations, range by range of conversations."""
        blocks = run_blocks([shard.num_rows for shard in self.shards], max_keys=self.sizes.run)
        runs = [SortedRun(self._run(block), block) for block in blocks]
        for start, end in key_ranges(self.screened.num_rows, per_range=self.sizes.range):
            new = [run.between(start, end, since=num_known) for run in runs]
            wanted = leading_keys(pa.concat_tables([part.keys for part in new]))
            if not len(wanted):
                continue
            wanted.sort()
            known = [run.among(wanted, start, end, before=num_known) for run in runs]
            yield self._in_order([*known, *new])

    def _in_order(self, parts: Sequence[Portion]) -> Portion:
        whole = Portion(
            pa.concat_tables([part.keys for part in parts]),
            np.concatenate([part.shards for part in parts]),
        )
        order = np.argsort(self.places(whole), kind="stable")
        return Portion(whole.keys.take(from_numbers(order)), whole.shards[order])

    def _run(self, block: range) -> DatasetRef:
        shards = self.shards[block.start : block.stop]
        return build_dataset(
            join_uri(self.uri, "runs", f"{block.start}_{len(block)}"),
            step=step_key(
                version=VERSION, inputs=[shard.content_hash for shard in shards], params={}
            ),
            compute=lambda: sorted_files(self.screened.uri, shards, file_keys=self.sizes.file),
        )


class _Found:
    """Marks as they are found: of new shards all, of known ones what changes."""

    def __init__(self, num_known: int, num_shards: int) -> None:
        self.num_known, self.num_shards = num_known, num_shards
        self.num_known_read = 0
        self.parts: list[tuple[np.ndarray, ...]] = []

    def add(self, portion: Portion, pool: _Pool) -> None:
        """Compares the pairs of a portion."""
        places = pool.places(portion)
        after = marks_of(portion.keys, places)
        is_known = portion.shards < self.num_known
        self.num_known_read += int(is_known.sum())
        # What stands about a known pair already; a new one never comes before it.
        before = _risks_without_new(portion, places, is_known)
        first = np.where(after.first_places == places, -1, after.first_places)
        marked = np.where(is_known, after.risks != before, (first >= 0) | (after.risks > 0))
        rows = row_numbers(portion.keys)
        columns = (portion.shards, rows, first, after.risks)
        self.parts.append(tuple(column[marked] for column in columns))

    def tables(self, base: DatasetRef | None) -> Iterator[tuple[int, pa.Table]]:
        """(number of the shard, `MARK_SCHEMA`) of every shard that is new or says something new."""
        empty = (np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
        parts = [*self.parts, (*empty, np.zeros(0, np.int8))]
        shards, rows, first, risks = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(shards, kind="stable")
        numbers = sorted({*range(self.num_known, self.num_shards), *shards.tolist()})
        edges = np.searchsorted(shards[order], [*numbers, self.num_shards])
        known = read_manifest(base).shards if base is not None else ()
        for number, start, end in zip(numbers, edges[:-1], edges[1:], strict=True):
            here = order[start:end]
            said = [rows[here], first[here], risks[here]]
            if number < self.num_known and base is not None:
                said = _revised(read_shard(base.uri, known[number]), said)
            yield number, mark_table(*said)


def _risks_without_new(portion: Portion, places: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    """int8 (n,): risk of each known key as long as nothing new had come; 0 for new ones."""
    risks = np.zeros(len(places), dtype=np.int8)
    rows = np.flatnonzero(is_known)
    if len(rows):
        old: Marks = marks_of(portion.keys.take(from_numbers(rows)), places[rows])
        risks[rows] = old.risks
    return risks


def _revised(marks: pa.Table, said: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The marks of a known shard with what is new; a pair without any is marked no longer."""
    rows, first, risks = said
    old = to_numbers(marks.column("row"), null=-1)
    stays = ~np.isin(old, rows)
    marked = (first >= 0) | (risks > 0)
    return [
        np.concatenate([old[stays], rows[marked]]),
        np.concatenate([to_numbers(marks["first_place"], null=-1)[stays], first[marked]]),
        np.concatenate([to_numbers(marks["risk"], null=0)[stays], risks[marked]]),
    ]
