"""What each source brings to the pool: rows, quarantine, repetitions, contradictions, length.

Every figure is the same in whatever order sources and files are read: of two equal pairs none is
the first here, as it is where the clean pool keeps one of them. A pair is known by the first eight
bytes of its ids, which are hashes: some twenty bytes a pair are held.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.pairs.ids import id_keys
from synpref_dagster.pairs.record import PreferencePair, ids_of_all

NEEDED_COLUMNS = ["source", "pair_id", "content_id", "chosen", "rejected"]
COUNTED = ("num_rows", "num_unfolded", "num_quarantined", "num_outside")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRow:
    """One source: what was read, and what its pairs say of each other and of other sources'."""

    source: str
    num_rows: int
    """Rows read."""
    num_unfolded: int
    """Candidates beyond one per row: rows + unfolded = pairs + quarantined + outside."""
    num_pairs: int
    num_quarantined: int
    num_outside: int
    """Rows outside the part that the options select."""
    num_repeated: int
    """Pairs that stand in the source before: pairs less different ones."""
    num_elsewhere: int
    """Different pairs, under this label, that another source holds as well."""
    num_contradictory: int
    """Contents that the source itself labels both ways."""
    num_contradicted: int
    """Contents that another source labels the other way."""
    num_unequal: int
    """Pairs whose responses differ in length, in characters."""
    num_longer: int
    """Those of them whose longer response is preferred."""

    @property
    def longer_share(self) -> float | None:
        """How often the longer response is preferred; None where no pair says."""
        return self.num_longer / self.num_unequal if self.num_unequal else None


class PoolKeys:
    """What is held of the pairs of a pool to compare them: add them table by table, then ask."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, pairs: pa.Table) -> None:
        """Takes note of some pairs.

        Args:
            pairs: `NEEDED_COLUMNS`.
        """
        lengths = [pc.utf8_length(pairs.column(side)) for side in ("chosen", "rejected")]
        chosen, rejected = (np.asarray(each.combine_chunks(), dtype=np.int64) for each in lengths)
        ids = [id_keys(pairs.column(name))[:, 0].copy() for name in ("pair_id", "content_id")]
        self._add(pairs.column("source").to_pylist(), ids, chosen - rejected)

    def add_pairs(
        self, pairs: Sequence[PreferencePair]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same of pairs that are no table; gives their numbers.

        Args:
            pairs: n of them.

        Returns:
            (n,) uint64 each: the first eight bytes of pair_id, content_id and conversation_id.
        """
        pair_ids, contents, conversations = map(id_numbers, ids_of_all(pairs))
        lengths = np.array([len(p.chosen) - len(p.rejected) for p in pairs], dtype=np.int64)
        self._add([pair.source for pair in pairs], [pair_ids, contents], lengths)
        return pair_ids, contents, conversations

    def _add(self, names: Sequence[str], ids: Sequence[np.ndarray], lengths: np.ndarray) -> None:
        """`lengths`: how many characters the preferred response is longer."""
        codes = [self._codes.setdefault(name, len(self._codes)) for name in names]
        signs = np.sign(lengths).astype(np.int8)
        self._parts.append((np.array(codes, dtype=np.int32), *ids, signs))

    def contents(self, sources: Collection[str]) -> np.ndarray:
        """Ascending uint64: the first eight bytes of the different contents of some sources."""
        codes = [code for name, code in self._codes.items() if name in sources]
        source, _, content, _ = self._columns()
        return np.unique(content[np.isin(source, codes)])

    @property
    def num_distinct(self) -> int:
        """Different pairs of the whole pool."""
        return len(np.unique(self._columns()[1]))

    def rows(self, counts: Iterable[Mapping[str, Any]]) -> list[SourceRow]:
        """A row per source, by name.

        Args:
            counts: source and `COUNTED`, any number per source, those without a pair too.
        """
        read: dict[str, Counter[str]] = {}
        for each in counts:
            counter = read.setdefault(str(each["source"]), Counter())
            counter.update({name: int(each[name]) for name in COUNTED})
        numbers = self._numbers()
        rows = []
        for name in sorted(read | self._codes):
            counted = read.get(name, Counter())
            code = self._codes.get(name)
            found = {key: 0 if code is None else int(by[code]) for key, by in numbers.items()}
            rows.append(SourceRow(source=name, **{key: counted[key] for key in COUNTED}, **found))
        return rows

    def _columns(self) -> tuple[np.ndarray, ...]:
        """Source, pair, content and sign of the length, (n,) each."""
        kinds = (np.int32, np.uint64, np.uint64, np.int8)
        empty = tuple(np.zeros(0, dtype=kind) for kind in kinds)
        return tuple(map(np.concatenate, zip(empty, *self._parts, strict=True)))

    def _numbers(self) -> dict[str, np.ndarray]:
        """Field of `SourceRow` -> (number of sources,) int64."""
        source, pair, content, sign = self._columns()
        size = len(self._codes)
        num_pairs = np.bincount(source, minlength=size)
        distinct = _distinct(pair, source)
        num_sources = _group_sizes(pair[distinct])
        elsewhere = source[distinct][num_sources > 1]
        within, between = _contradictions(content[distinct], pair[distinct], source[distinct])
        return {
            "num_pairs": num_pairs,
            "num_repeated": num_pairs - np.bincount(source[distinct], minlength=size),
            "num_elsewhere": np.bincount(elsewhere, minlength=size),
            "num_contradictory": np.bincount(within, minlength=size),
            "num_contradicted": np.bincount(between, minlength=size),
            "num_unequal": np.bincount(source[sign != 0], minlength=size),
            "num_longer": np.bincount(source[sign > 0], minlength=size),
        }


def id_numbers(ids: Sequence[bytes]) -> np.ndarray:
    """(n,) uint64: the first eight bytes of each id."""
    return np.frombuffer(b"".join(ids), dtype=np.uint64)[::2].copy()


def by_source(shards: Iterable[pa.Table], counts: Iterable[Mapping[str, Any]]) -> list[SourceRow]:
    """A row per source of a pool, by name; a shard is in memory at a time.

    Args:
        shards: `NEEDED_COLUMNS` of all pairs that were read, as the raw pool holds them.
        counts: source and `COUNTED`, as reading counts them, any number per source.
    """
    keys = PoolKeys()
    for shard in shards:
        keys.add(shard)
    return keys.rows(counts)


def _distinct(pair: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Rows (m,) of each pair of each source once, by pair and source."""
    order = np.lexsort((source, pair))
    starts = _starts(pair[order], source[order])
    return np.asarray(order[starts])


def _starts(*columns: np.ndarray) -> np.ndarray:
    """Bool (n,): where a run of rows with equal values begins, in columns that are sorted."""
    changes = np.zeros(max(len(columns[0]) - 1, 0), dtype=bool)
    for column in columns:
        changes |= column[1:] != column[:-1]
    return np.append(True, changes)[: len(columns[0])]


def _group_sizes(ranked: np.ndarray) -> np.ndarray:
    """(n,) int64: how many rows have the value of each, of a sorted column."""
    starts = _starts(ranked)
    return np.asarray(np.bincount(np.cumsum(starts) - 1)[np.cumsum(starts) - 1])


def _contradictions(
    content: np.ndarray, pair: np.ndarray, source: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Source of each content that it labels both ways itself, and of each that others oppose.

    Args:
        content: (m,) of the pairs of every source, each once.
        pair: (m,) pair under its label: a content has two at most.
        source: (m,) of the pair.
    """
    order = np.lexsort((source, pair, content))
    content, pair, source = content[order], pair[order], source[order]
    group = np.cumsum(_starts(content)) - 1
    first = pair[np.flatnonzero(_starts(content))]
    turned = (pair != first[group]).astype(np.int64)
    votes = np.stack([np.bincount(group, 1 - turned), np.bincount(group, turned)])
    both = votes.min(axis=0) > 0
    rows = np.flatnonzero(both[group])  # few: contents under both labels
    group, source, turned = group[rows], source[rows], turned[rows]
    again = np.lexsort((turned, source, group))
    group, source, turned = group[again], source[again], turned[again]
    starts = _starts(group, source)
    member = np.cumsum(starts) - 1
    is_both = np.bincount(member)[member] > 1
    opposed = votes[1 - turned, group] - is_both > 0
    of_member = source[starts]
    is_opposed = np.bincount(member, opposed, minlength=len(of_member)) > 0
    return of_member[np.bincount(member, minlength=len(of_member)) > 1], of_member[is_opposed]
