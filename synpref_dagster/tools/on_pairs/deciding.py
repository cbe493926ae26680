"""What `score`, `judge` and gold say of the pairs of a file, side by side, and decided.

The columns are those that `tools.curating.deciding.decide` takes: one rule, whoever asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.curation.filtering.decision import FLIPPED, KEPT
from synpref_dagster.curation.filtering.flip_guard import GuardConfig
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.tools.curating.deciding import DecideReport, decide
from synpref_dagster.tools.on_pairs.given import Given, GivenPairs, given_pairs, refuse_lost


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What became of the pairs of a file."""

    report: DecideReport
    """Counts, reasons, guard and warnings."""
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
        margins: what `score` wrote of these pairs under the gold model, then under the best one;
            neither may have trained on gold, or the guard is told too much good.
        labels: what `judge` wrote of them; without it no machine flips a pair.
        gold: pairs under the label that is right. Where the file holds one of them, in whichever
            order, its label decides, and the guard of flips is measured on it.
        guard: how precise flips must be on gold.

    Raises:
        ValueError: a table is about other pairs, or is none; in one line.
    """
    refuse_lost(Path(output), [file, gold, *margins, labels])
    given, least = given_pairs(file), guard or GuardConfig()
    with TemporaryDirectory(prefix="synpref-") as folder:
        witnesses = Path(folder, "witnesses.parquet")
        pq.write_table(_witnesses(given, margins, labels=labels, gold=gold), witnesses)
        report = decide(witnesses, output, floor=least.floor, min_flips=least.min_flips, force=True)
    decisions = report.table()["decision"].to_pylist()
    curated = [
        pair if what == KEPT else pair.flipped()
        for pair, what in zip(given.pairs, decisions, strict=True)
        if what in (KEPT, FLIPPED)
    ]
    return Decided(report=report, curated=curated)


def _witnesses(
    given: GivenPairs,
    margins: tuple[str | Path, str | Path],
    *,
    labels: str | Path | None,
    gold: Given | None,
) -> pa.Table:
    """One row per pair, in their order: where it stands, and what each witness says of it."""
    ids = [pair.pair_id.hex() for pair in given.pairs]
    by_gold, by_best = (_column(place, "margin", ids) for place in margins)
    silent = np.zeros(len(ids), dtype=np.int8)
    columns = {
        "file": [file for file, _ in given.where],
        "row": pa.array([row for _, row in given.where], pa.int64()),
        "pair_id": ids,
        "gold_margin": by_gold,
        "best_margin": by_best,
        "judge_label": silent if labels is None else _column(labels, "label", ids),
        "human_label": _people(given.pairs, [] if gold is None else given_pairs(gold).pairs),
    }
    return pa.table(columns)


def _column(place: str | Path, name: str, ids: Sequence[str]) -> pa.ChunkedArray:
    """A column of a table that has a row for each of these pairs, in their order."""
    try:
        table = pq.read_table(place, columns=["pair_id", name])
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ValueError(f"{place} is no table of pair_id and {name}: {error}") from error
    if table["pair_id"].to_pylist() != list(ids):
        raise ValueError(f"{place} is about other pairs: make it anew of the file that is decided")
    return table[name]


def _people(pairs: Sequence[PreferencePair], gold: Sequence[PreferencePair]) -> pa.Array:
    """int8 (n,): +1 gold agrees with the label of a pair, -1 it does not, null gold has none.

    What stands in gold under both labels is undecided, and counts as not there.
    """
    right: dict[bytes, set[bytes]] = {}
    for pair in gold:
        right.setdefault(pair.content_id, set()).add(pair.pair_id)
    known = {content: next(iter(found)) for content, found in right.items() if len(found) == 1}
    found = [
        None if (right_id := known.get(pair.content_id)) is None
        else 1 if right_id == pair.pair_id else -1
        for pair in pairs
    ]  # fmt: skip
    return pa.array(found, pa.int8())
