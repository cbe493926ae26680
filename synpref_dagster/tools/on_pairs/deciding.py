"""Keeping, flipping or discarding the pairs of a file by what two models and judges said of them.

The rule and its guard are those of campaigns (`curation/filtering/`); the witnesses are the tables
that `score` and `judge` wrote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.curation.filtering.decision import DECISIONS, FLIPPED, KEPT, decide
from synpref_dagster.curation.filtering.flip_guard import (
    FlipGuard,
    GuardConfig,
    estimate_flip_guard,
)
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import accuracy_of
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.storage.atomic import beside, put_in_place
from synpref_dagster.tools.on_pairs.given import Given, GivenPairs, given_pairs, refuse_lost

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("pair_id", pa.string()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("gold_margin", pa.float32()),
        ("best_margin", pa.float32()),
        ("judge_label", pa.int8()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What became of the pairs of a file."""

    output: Path
    num_pairs: int
    counts: Mapping[str, int]
    """Decision (kept, flipped, discarded) -> pairs; they add up to all."""
    reasons: Mapping[str, int]
    """Reason -> pairs."""
    guard: FlipGuard
    """How sure flips had to be, and how precise such flips are on gold."""
    curated: Sequence[PreferencePair]
    """Kept pairs as they are, flipped ones under the other label; in the order of the file."""


def decide_pairs(
    file: Given,
    output: str | Path,
    *,
    margins: tuple[str | Path, str | Path],
    labels: str | Path | None = None,
    gold: Given | None = None,
    guard: GuardConfig | None = None,
) -> Decided:
    """Decide every pair of a file.

    Args:
        file: the pairs.
        output: a `.parquet` file; an older one is replaced.
        margins: what `score` wrote of these pairs under the gold model, then under the other one;
            neither may have trained on gold, or the guard is told too much good.
        labels: what `judge` wrote of them; without it no machine flips a pair.
        gold: pairs under the label that is right. Where the file holds one of them, in whichever
            order, its label decides, and the guard of flips is measured on it.
        guard: how precise flips must be on gold.

    Raises:
        ValueError: a table is about other pairs, or is none; in one line.
    """
    target = Path(output)
    refuse_lost(target, [file, gold, *margins, labels])
    given = given_pairs(file)
    witnesses = _witnesses(given, margins, labels=labels, gold=gold)
    config = guard or GuardConfig()
    measured = _guard(witnesses, config, is_known=gold is not None)
    decision, reason = decide(witnesses, guard=measured)
    _write(target, given, witnesses, decided=(decision, reason))
    curated = [
        pair if what == KEPT else pair.flipped()
        for pair, what in zip(given.pairs, decision, strict=True)
        if what in (KEPT, FLIPPED)
    ]
    return Decided(
        output=target,
        num_pairs=len(given.pairs),
        counts={name: int(np.count_nonzero(decision == name)) for name in DECISIONS},
        reasons={name: int(np.count_nonzero(reason == name)) for name in sorted({*reason})},
        guard=measured,
        curated=curated,
    )


def _witnesses(
    given: GivenPairs,
    margins: tuple[str | Path, str | Path],
    *,
    labels: str | Path | None,
    gold: Given | None,
) -> Witnesses:
    ids = [pair.pair_id.hex() for pair in given.pairs]
    by_model = [_column(place, "margin", ids).astype(np.float32) for place in margins]
    people = _people(given.pairs, [] if gold is None else given_pairs(gold).pairs)
    none = np.zeros(len(ids), dtype=np.int8)
    return Witnesses(
        gold_margin=by_model[0],
        best_margin=by_model[1],
        judge_label=none if labels is None else _column(labels, "label", ids).astype(np.int8),
        human_label=people,
        human_seen=people != 0,
    )


def _column(place: str | Path, name: str, ids: Sequence[str]) -> np.ndarray:
    """A column of a table that has a row for each of these pairs, in their order."""
    try:
        table = pq.read_table(place, columns=["pair_id", name])
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ValueError(f"{place} is no table of pair_id and {name}: {error}") from error
    if table["pair_id"].to_pylist() != list(ids):
        raise ValueError(f"{place} is about other pairs: make it anew of the file that is decided")
    return np.asarray(table[name].to_numpy())


def _people(pairs: Sequence[PreferencePair], gold: Sequence[PreferencePair]) -> np.ndarray:
    """int8 (n,): +1 gold agrees with the label of a pair, -1 it does not, 0 gold has none.

    What stands in gold under both labels is undecided, and counts as not there.
    """
    right: dict[bytes, set[bytes]] = {}
    for pair in gold:
        right.setdefault(pair.content_id, set()).add(pair.pair_id)
    known = {content: next(iter(found)) for content, found in right.items() if len(found) == 1}
    found = [
        0 if (label := known.get(pair.content_id)) is None else 1 if label == pair.pair_id else -1
        for pair in pairs
    ]
    return np.array(found, dtype=np.int8)


def _guard(witnesses: Witnesses, config: GuardConfig, *, is_known: bool) -> FlipGuard:
    """Measured where gold is known; shut where nobody knows."""
    if not is_known:
        nothing = accuracy_of(np.zeros(0, dtype=bool))
        return FlipGuard(max_confidence=0.0, precision=nothing, floor=config.floor)
    seen = witnesses.human_seen
    evidence = replace(
        witnesses,
        gold_margin=witnesses.gold_margin[seen],
        best_margin=witnesses.best_margin[seen],
        judge_label=witnesses.judge_label[seen],
        human_label=witnesses.human_label[seen],
        human_seen=seen[seen],
    )
    return estimate_flip_guard(evidence, config=config)


def _write(
    target: Path,
    given: GivenPairs,
    witnesses: Witnesses,
    *,
    decided: tuple[np.ndarray, np.ndarray],
) -> None:
    columns = [
        [file for file, _ in given.where],
        [row for _, row in given.where],
        [pair.pair_id.hex() for pair in given.pairs],
        *(list(each) for each in decided),
        witnesses.gold_margin,
        witnesses.best_margin,
        witnesses.judge_label,
    ]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
    part = beside(target)
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), part, compression="zstd")
    put_in_place(part, target)
