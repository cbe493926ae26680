"""The key index: which pairs of a pool repeat or contradict each other, out of core (App. D.1).

Keys of consecutive shards lie in runs, each sorted by conversation and cut into files by the
leading bits of the conversation. A pool that grew keeps its runs; new shards get runs of their own,
and those of equal size become one. The pool is judged range by range: of known shards only pairs
of conversations that the new ones speak about too.

Marks depend on the keys alone, never on the nights in which they came.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.pool.key_runs import (
    IndexSizes,
    Portion,
    Run,
    key_ranges,
    leading_words,
    row_numbers,
    run_blocks,
    sorted_files,
)
from synpref_dagster.curation.pool.marks import Marks, mark_table, marks_of
from synpref_dagster.pairs.columns import from_numbers, to_numbers
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

VERSION = "1"


@dataclass(frozen=True, slots=True)
class MarkedPool:
    """Marks of a pool, one shard per shard of the pool, and what they cost."""

    marks: DatasetRef
    """`MARK_SCHEMA`."""
    num_new_shards: int
    """Shards whose pairs were judged."""
    num_known_shards: int
    """Shards that had been judged before, with nothing changed but what new ones say of them."""
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
    all pairs are judged again, on their keys.
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
        runs = [Run(self._run(block), block) for block in blocks]
        for start, end in key_ranges(self.screened.num_rows, per_range=self.sizes.range):
            new = [run.between(start, end, since=num_known) for run in runs]
            wanted = leading_words(pa.concat_tables([part.keys for part in new]))
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
        """Judges a portion."""
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
