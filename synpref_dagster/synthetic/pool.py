"""Spreads labelled pairs over the sources, with the faults that public data has.

Contradictions inside a source, exact duplicates across sources, pairs on benchmark prompts, and
malformed rows are all put in on purpose and counted, so that cleaning can be checked against them.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from synpref_dagster.pairs.record import Origin, PreferencePair
from synpref_dagster.synthetic.draws import Example, iter_examples
from synpref_dagster.synthetic.labellers import SOURCES, LabelSource, labels_right
from synpref_dagster.synthetic.source_files import Row, malformed_rows, to_row


@dataclass(frozen=True, slots=True)
class PlacedExample:
    """An example in a source, with the labels it got there: two when the source contradicts."""

    example: Example
    source: LabelSource
    labels: tuple[bool, ...]
    """Whether each label is right; never shown to the pipeline."""

    def pairs(self) -> list[PreferencePair]:
        """One labelled pair per label."""
        source = self.source
        return [
            self.example.labelled(label_right=label, source=source.name, origin=source.origin)
            for label in self.labels
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceContents:
    """All rows of one source file, shuffled, and what was put in on purpose."""

    rows: list[Row]
    num_malformed: dict[str, int]
    num_duplicates: int


def place_examples(
    num_pairs: dict[Origin, int], *, planted: Sequence[Example], seed: int
) -> list[PlacedExample]:
    """Draw examples for every source and let the source label them.

    Args:
        num_pairs: pairs per origin; every source gets its share of its origin's number.
        planted: examples on benchmark prompts, given to the sources in turn, on top.
        seed: draws examples and labels.

    Returns:
        Placed examples in the order of `SOURCES`; the planted ones come last.
    """
    rng = Random(f"labels-{seed}")
    queue = _ExampleQueue(seed)
    placed: list[PlacedExample] = []
    for source in SOURCES:
        wanted = round(source.share * num_pairs[source.origin])
        for _ in range(wanted // 2 if source.contradicts else wanted):
            example = queue.take(single_turn=source.layout == "plain")
            placed.append(_place(example, source, rng))
    honest = [source for source in SOURCES if not source.contradicts]
    for index, example in enumerate(planted):
        placed.append(_place(example, honest[index % len(honest)], rng))
    return placed


def source_contents(
    source: LabelSource,
    placed: Sequence[PlacedExample],
    *,
    malformed_share: float,
    duplicate_share: float,
    seed: int,
) -> SourceContents:
    """The rows of a source's file.

    Malformed rows are broken copies of its own rows, every kind of fault at least once when there
    are any; duplicates repeat pairs of sources whose name comes earlier, unchanged, so that for who
    reads the files by name the first occurrence is the original.
    """
    rng = Random(f"{source.name}-{seed}")
    own = [pair for item in placed if item.source is source for pair in item.pairs()]
    rows = [to_row(pair, source.layout) for pair in own]
    broken: list[Row] = []
    num_malformed: Counter[str] = Counter()
    if malformed_share > 0:
        faults = list(malformed_rows(rows[0], source.layout))
        for index in range(max(len(faults), round(malformed_share * len(own)))):
            fault = faults[index % len(faults)]
            broken.append(malformed_rows(rng.choice(rows), source.layout)[fault])
            num_malformed[fault] += 1
    earlier = _earlier_pairs(source, placed)
    num_duplicates = min(round(duplicate_share * len(own)), len(earlier))
    copies = [to_row(pair, source.layout) for pair in rng.sample(earlier, num_duplicates)]
    contents = [*rows, *broken, *copies]
    rng.shuffle(contents)
    return SourceContents(
        rows=contents, num_malformed=dict(num_malformed), num_duplicates=num_duplicates
    )


def _place(example: Example, source: LabelSource, rng: Random) -> PlacedExample:
    if source.contradicts:
        return PlacedExample(example, source, (True, False))
    return PlacedExample(example, source, (labels_right(source, example, rng=rng),))


def _earlier_pairs(source: LabelSource, placed: Sequence[PlacedExample]) -> list[PreferencePair]:
    return [
        pair
        for item in placed
        if item.source.name < source.name
        and not item.source.contradicts
        and (source.layout != "plain" or len(item.example.conversation) == 1)
        for pair in item.pairs()
    ]


class _ExampleQueue:
    """Pool examples in drawing order, except that a caller may ask for a single-turn one."""

    def __init__(self, seed: int) -> None:
        self._fresh = iter_examples("pool", seed=seed)
        self._set_aside: deque[Example] = deque()

    def take(self, *, single_turn: bool) -> Example:
        if not single_turn and self._set_aside:
            return self._set_aside.popleft()
        for example in self._fresh:
            if single_turn and len(example.conversation) > 1:
                self._set_aside.append(example)
                continue
            return example
        raise AssertionError("iter_examples never ends")
