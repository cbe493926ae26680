"""One pass over the sources: what is in them, without keeping it.

Of a pair some forty bytes stay (ids, length), of each source a sample of pairs, and two rows of
each reason. Samples and examples are those of the lowest ids: no order of files changes them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappush, heapreplace
from typing import Any

import numpy as np
import pandas as pd

from synpref_dagster.curation.contamination.rules import ContaminationIndex, find_by_index
from synpref_dagster.curation.evidence.sources import as_report
from synpref_dagster.curation.personal_data.patterns import find_in_texts
from synpref_dagster.curation.pool.by_source import PoolKeys, id_numbers, pool_rows
from synpref_dagster.pairs.record import PreferencePair, digest, first_user_turn
from synpref_dagster.preview.prompts import Spread, spread
from synpref_dagster.sources.files.folders import source_files
from synpref_dagster.sources.records import QuarantinedRow, SourceBatch, SourceSpec
from synpref_dagster.sources.shards import EMPTY_BATCH, named_batches

SAMPLED = 1_000
"""Pairs of each source whose texts are kept."""
EXAMPLES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """Rows of one source that are no pairs for one reason."""

    source: str
    reason: str
    num_rows: int
    examples: tuple[QuarantinedRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Votes:
    """Votes of people that ship with a source."""

    source: str
    num_votes: int
    num_people: int
    num_pairs: int
    """Different contents that somebody voted on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What the sources hold.

    Of two equal pairs the one of the first source is kept, as in a campaign; besides, every figure
    is the same in whatever order they are read.
    """

    sources: tuple[Mapping[str, Any], ...]
    """The rows that `clean_pool` will have (`sources.as_report`), with `PoolKeys.overlaps`."""
    origins: Mapping[str, str]
    unreadable: Mapping[str, str]
    """Source -> why it could not be read to its end, in a line."""
    num_files: int
    skipped: tuple[str, ...]
    """Files that are no data by their names."""
    quarantined: tuple[Quarantined, ...]
    unread: Mapping[tuple[str, str], int]
    """(source, column) that nobody read -> rows in which it holds something."""
    prompts: Mapping[str, Spread]
    """Source -> its spread; "" is the whole pool."""
    num_distinct: int
    benchmarks: tuple[str, ...]
    """That were looked for."""
    contaminated: Mapping[tuple[str, str], int]
    """(source, benchmark) -> pairs, whole pool and repetitions included."""
    num_contaminated: int
    """Different pairs that share words with a benchmark."""
    num_for_people: int
    """Different contents of human origin without a contaminated one: what stage 1 starts from."""
    personal: Mapping[tuple[str, str], int]
    """(source, kind) -> different pairs with a finding."""
    num_personal: int
    votes: tuple[Votes, ...]
    num_voted: int
    """Different contents for people that somebody voted on."""
    bytes_of_sides: Mapping[str, np.ndarray]
    """Source -> (n,) int32: UTF-8 bytes of a conversation with the longer response."""
    sample: Mapping[str, Sequence[PreferencePair]]
    """Source -> at most `SAMPLED` pairs, by id."""

    @property
    def num_pairs(self) -> int:
        """Pairs read."""
        return sum(row["num_pairs"] for row in self.sources)

    @property
    def num_clean(self) -> int:
        """Different pairs that share nothing with a benchmark: what `clean_pool` will hold."""
        return self.num_distinct - self.num_contaminated

    @property
    def bytes_per_pair(self) -> float | None:
        """Mean UTF-8 bytes of a pair's texts, its prompt once, by the samples; None without one."""
        return _mean_bytes(self)


def survey(
    specs: Iterable[SourceSpec],
    *,
    seed: int,
    indexes: Sequence[ContaminationIndex] = (),
    recorded: Iterable[bytes] = (),
) -> Survey:
    """Reads every file of every source once.

    Args:
        specs: the sources.
        seed: for formats that draw a label; that of the campaign.
        indexes: of each benchmark, under one configuration.
        recorded: content_id of votes that lie beside the sources, as those of the synthetic world.
    """
    found = _Found(indexes)
    for spec in specs:
        found.begin(spec)
        try:
            for file in _files(spec, found):
                for batch in named_batches(file, seed):
                    found.add(spec.name, batch)
        except (ValueError, OSError) as error:
            found.unreadable[spec.name] = str(error)
    return found.finished(recorded)


def _files(spec: SourceSpec, found: "_Found") -> Iterator[SourceSpec]:
    try:
        files = source_files(spec.path, split=spec.options.get("split"))
    except ValueError as error:
        raise ValueError(f"source {spec.name!r}: {error}") from error
    found.skipped += files.skipped
    if not files.data:
        raise ValueError(f"source {spec.name!r}: no file below {spec.path!r}; is it mounted?")
    for path in files.data:
        found.num_files += 1
        yield replace(spec, path=path)


class _Sample:
    """The pairs with the lowest ids, each once."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, PreferencePair]] = []  # highest first: numbers are negative
        self._known: set[int] = set()

    def offer(self, keys: np.ndarray, pairs: Sequence[PreferencePair]) -> None:
        full = len(self._heap) == SAMPLED
        below = keys < np.uint64(-self._heap[0][0]) if full else np.ones(len(keys), dtype=bool)
        for place in np.flatnonzero(below).tolist():
            key = int(keys[place])
            if key in self._known:
                continue
            if len(self._heap) < SAMPLED:
                heappush(self._heap, (-key, pairs[place]))
            elif -self._heap[0][0] > key:
                gone, _ = heapreplace(self._heap, (-key, pairs[place]))
                self._known.discard(-gone)
            else:
                continue
            self._known.add(key)

    def pairs(self) -> tuple[PreferencePair, ...]:
        return tuple(pair for _, pair in sorted(self._heap, key=lambda each: -each[0]))


@dataclass
class _OfSource:
    """What is kept of one source."""

    origin: str
    prompts: list[np.ndarray] = field(default_factory=list)
    bytes_of_sides: list[np.ndarray] = field(default_factory=list)
    sample: _Sample = field(default_factory=_Sample)
    num_votes: int = 0
    people: set[str] = field(default_factory=set)
    voted: list[np.ndarray] = field(default_factory=list)


class _Found:
    """What was found so far."""

    def __init__(self, indexes: Sequence[ContaminationIndex]) -> None:
        self.indexes = indexes
        self.keys = PoolKeys()
        self.of: dict[str, _OfSource] = {}
        self.counts: list[dict[str, int | str]] = []
        self.unreadable: dict[str, str] = {}
        self.num_files = 0
        self.skipped: list[str] = []
        self.quarantined: Counter[tuple[str, str]] = Counter()
        self.examples: dict[tuple[str, str], list[tuple[bytes, QuarantinedRow]]] = {}
        self.unread: Counter[tuple[str, str]] = Counter()
        self.contaminated: Counter[tuple[str, str]] = Counter()
        self.contaminated_keys: list[np.ndarray] = []
        """(m, 2): numbers of pair and content."""
        self.personal: dict[tuple[str, str], set[int]] = defaultdict(set)

    def begin(self, spec: SourceSpec) -> None:
        self.of[spec.name] = _OfSource(spec.origin)
        self.keys.begin(spec.name)
        self._count(spec.name, EMPTY_BATCH)  # a source that cannot be read is a row, too

    def add(self, source: str, batch: SourceBatch) -> None:
        self._count(source, batch)
        for row in batch.quarantined:
            self._quarantine(row)
        self.unread.update({(source, name): n for name, n in batch.unread_columns.items()})
        of = self.of[source]
        of.num_votes += len(batch.recorded_verdicts)
        of.people.update(vote.annotator for vote in batch.recorded_verdicts)
        of.voted.append(id_numbers([vote.content_id for vote in batch.recorded_verdicts]))
        if not batch.pairs:
            return
        pairs, contents, conversations = self.keys.add(batch.pairs)
        of.prompts.append(conversations)
        of.bytes_of_sides.append(_bytes_of_sides(batch.pairs))
        of.sample.offer(pairs, batch.pairs)
        self._look_for_benchmarks(source, batch.pairs, keys=(pairs, contents))
        self._look_for_people(source, batch.pairs, pairs)

    def _count(self, source: str, batch: SourceBatch) -> None:
        self.counts.append(
            {
                "source": source,
                "num_rows": batch.num_rows,
                "num_unfolded": batch.num_unfolded,
                "num_outside": batch.num_outside,
                "num_quarantined": len(batch.quarantined),
                "num_pairs": len(batch.pairs),
            }
        )

    def _quarantine(self, row: QuarantinedRow) -> None:
        kind = row.source, row.reason
        self.quarantined[kind] += 1
        ranked = self.examples.setdefault(kind, [])
        ranked.append((digest(row.raw, row.detail), row))
        ranked.sort(key=lambda each: each[0])
        del ranked[EXAMPLES:]

    def _look_for_benchmarks(
        self, source: str, pairs: Sequence[PreferencePair], *, keys: tuple[np.ndarray, np.ndarray]
    ) -> None:
        if not self.indexes:
            return
        turns = [first_user_turn(pair.conversation) for pair in pairs]
        distinct = list(dict.fromkeys(turns))
        hits: dict[str, list[str]] = {}
        for found in find_by_index(self.indexes, distinct):
            for place, shared in found.items():
                hits.setdefault(distinct[place], []).append(shared.benchmark)
        if not hits:
            return
        places = [place for place, turn in enumerate(turns) if turn in hits]
        self.contaminated_keys.append(np.column_stack(keys)[places])
        for place in places:
            self.contaminated.update((source, benchmark) for benchmark in hits[turns[place]])

    def _look_for_people(
        self, source: str, pairs: Sequence[PreferencePair], keys: np.ndarray
    ) -> None:
        texts, owners = [], []
        for place, pair in enumerate(pairs):
            said = [turn["content"] for turn in pair.conversation]
            texts += [*said, pair.chosen, pair.rejected]
            owners += [place] * (len(said) + 2)
        for text, finding in find_in_texts(texts):
            self.personal[source, finding.kind].add(int(keys[owners[text]]))

    def finished(self, recorded: Iterable[bytes]) -> Survey:
        hit = np.concatenate([np.zeros((0, 2), np.uint64), *self.contaminated_keys])
        for_people = np.setdiff1d(
            self.keys.contents({name for name, of in self.of.items() if of.origin == "human"}),
            hit[:, 1],
        )
        voted = [each for of in self.of.values() for each in of.voted]
        everybody = np.concatenate([id_numbers([*recorded]), *voted])
        prompts = {name: _joined(of.prompts, np.uint64) for name, of in self.of.items()}
        return Survey(
            sources=self._rows(hit[:, 0]),
            origins={name: of.origin for name, of in self.of.items()},
            unreadable=self.unreadable,
            num_files=self.num_files,
            skipped=tuple(sorted(self.skipped)),
            quarantined=self._reasons(),
            unread=dict(sorted(self.unread.items())),
            prompts={
                "": spread(_joined([*prompts.values()], np.uint64)),
                **{name: spread(keys) for name, keys in prompts.items()},
            },
            num_distinct=self.keys.num_distinct,
            benchmarks=tuple(sorted({p.benchmark for each in self.indexes for p in each.prompts})),
            contaminated=dict(sorted(self.contaminated.items())),
            num_contaminated=len(np.unique(hit[:, 0])),
            num_for_people=len(for_people),
            personal={kind: len(ids) for kind, ids in sorted(self.personal.items())},
            num_personal=len(set().union(*self.personal.values())),
            votes=tuple(
                Votes(
                    source=name,
                    num_votes=of.num_votes,
                    num_people=len(of.people),
                    num_pairs=len(np.unique(_joined(of.voted, np.uint64))),
                )
                for name, of in sorted(self.of.items())
                if of.num_votes
            ),
            num_voted=len(np.intersect1d(for_people, everybody)),
            bytes_of_sides={
                name: _joined(of.bytes_of_sides, np.int32) for name, of in self.of.items()
            },
            sample={name: of.sample.pairs() for name, of in self.of.items()},
        )

    def _rows(self, contaminated: np.ndarray) -> tuple[Mapping[str, Any], ...]:
        if not self.counts:
            return ()
        reasons = [(*kind, number) for kind, number in self.quarantined.items()]
        cleaned, longer = self.keys.cleaned(contaminated)
        rows = pool_rows(
            pd.DataFrame(self.counts),
            quarantined=pd.DataFrame(reasons, columns=["source", "reason", "num_rows"]),
            cleaned=cleaned,
            longer=longer,
        )
        overlaps = self.keys.overlaps()
        return tuple({**row, **overlaps[row["source"]]} for row in as_report(rows))

    def _reasons(self) -> tuple[Quarantined, ...]:
        """Most frequent first within a source."""
        ordered = sorted(self.quarantined.items(), key=lambda each: (each[0][0], -each[1], each[0]))
        return tuple(
            Quarantined(
                source=source,
                reason=reason,
                num_rows=number,
                examples=tuple(row for _, row in self.examples[source, reason]),
            )
            for (source, reason), number in ordered
        )


def _joined(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=kind), *parts])


def _bytes_of_sides(pairs: Sequence[PreferencePair]) -> np.ndarray:
    return np.array(
        [
            sum(size_of(turn["content"]) for turn in pair.conversation)
            + max(size_of(pair.chosen), size_of(pair.rejected))
            for pair in pairs
        ],
        dtype=np.int32,
    )


def size_of(text: str) -> int:
    """UTF-8 bytes of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _mean_bytes(found: Survey) -> float | None:
    """Each source counts by its pairs."""
    weights = {row["source"]: row["num_pairs"] for row in found.sources}
    means = [
        (
            weights[name],
            np.mean(
                [
                    sum(size_of(turn["content"]) for turn in pair.conversation)
                    + size_of(pair.chosen)
                    + size_of(pair.rejected)
                    for pair in pairs
                ]
            ),
        )
        for name, pairs in found.sample.items()
        if pairs
    ]
    whole = sum(weight for weight, _ in means)
    return float(sum(weight * mean for weight, mean in means)) / whole if whole else None
