"""What each source brings to the pool: rows, quarantine, repetitions, contradictions, length.

One table, before a campaign and in it: `synpref check` fills it from the ids of all pairs
(`PoolKeys`), the clean pool from its own counts. Every row adds up: rows + unfolded = pairs +
quarantined + outside, and pairs = duplicates + dropped + clean.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from synpref_dagster.curation.contamination.recheck import CONTAMINATED
from synpref_dagster.curation.pool.marks import CONTRADICTION
from synpref_dagster.curation.pool.selection import DUPLICATE
from synpref_dagster.pairs.accuracy import Accuracy, wilson_interval
from synpref_dagster.pairs.record import PreferencePair, ids_of_all

READ = ("num_rows", "num_unfolded", "num_outside", "num_quarantined", "num_pairs")
"""As reading counts them: rows; candidates beyond one per row, fewer than none where rows are
joined; rows outside the part that options select or of held-out debates; rows that are no pair."""
POOL_COLUMNS = [
    "source", *READ, "quarantined_as",
    "num_duplicates", "num_dropped", "dropped_as", "num_clean", "num_contradictory",
]  # fmt: skip
"""`num_dropped` counts what cleaning dropped besides duplicates; `..._as` is JSON by reason."""
ENDS = ("value", "low", "high", "n")
LONGER = "longer_before"
TALLIED = ["source", "kept", "why", "num_pairs"]
_WHYS = ("", CONTRADICTION, CONTAMINATED, DUPLICATE)  # the first two of clean pairs


def pool_rows(
    read: pd.DataFrame,
    *,
    quarantined: pd.DataFrame,
    cleaned: pd.DataFrame,
    longer: Mapping[str, Accuracy],
) -> pd.DataFrame:
    """What each source brought to the pool: `POOL_COLUMNS` and the share `longer_before`.

    Args:
        read: source and `READ`, any number of rows per source, one at least.
        quarantined: source, reason, num_rows.
        cleaned: `TALLIED`, as in `selection.TALLY_SCHEMA`.
        longer: source -> how often its clean pairs prefer the longer response.
    """
    counts = read.groupby("source", sort=False)[list(READ)].sum()
    rows = [
        {
            "source": str(source),
            **{name: int(number) for name, number in each.items()},
            "quarantined_as": _by_reason(quarantined[quarantined["source"] == source], "reason"),
            **_cleaned(cleaned[cleaned["source"] == source]),
            **flat(LONGER, longer.get(str(source), share_of(0, 0))),
        }
        for source, each in counts.to_dict("index").items()
    ]
    return pd.DataFrame(rows, columns=[*POOL_COLUMNS, *(f"{LONGER}_{end}" for end in ENDS)])


def flat(name: str, figure: Any) -> dict[str, Any]:
    """A figure with an interval as four columns."""
    return {f"{name}_{end}": getattr(figure, end) for end in ENDS}


def share_of(number: int, total: int) -> Accuracy:
    """A counted share with its interval; unknown of nothing."""
    low, high = wilson_interval(number, total)
    return Accuracy(number / total if total else float("nan"), low, high, total)


class PoolKeys:
    """What is held of the pairs of a pool to compare them: begin a source, add its pairs, then ask.

    A pair is known by the first eight bytes of its ids, which are hashes: some twenty bytes a pair
    are held. A pair of several sources is a duplicate in all but the one that was begun first, as
    in the clean pool; the order within a source changes nothing.
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._parts: list[tuple[np.ndarray, ...]] = []

    def begin(self, source: str) -> None:
        """Makes a source known, also one without pairs."""
        self._codes.setdefault(source, len(self._codes))

    def add(self, pairs: Sequence[PreferencePair]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Takes note of some pairs, and gives their numbers.

        Args:
            pairs: n of them, of sources that were begun.

        Returns:
            (n,) uint64 each: the first eight bytes of pair_id, content_id and conversation_id.
        """
        pair_ids, contents, conversations = map(id_numbers, ids_of_all(pairs))
        codes = [self._codes[p.source] for p in pairs]
        signs = np.sign([len(p.chosen) - len(p.rejected) for p in pairs]).astype(np.int8)
        self._parts.append((np.array(codes, dtype=np.int32), pair_ids, contents, signs))
        return pair_ids, contents, conversations

    def contents(self, sources: Collection[str]) -> np.ndarray:
        """Ascending uint64: the first eight bytes of the different contents of some sources."""
        codes = [code for name, code in self._codes.items() if name in sources]
        source, _, content, _ = self._columns()
        return np.unique(content[np.isin(source, codes)])

    @property
    def num_distinct(self) -> int:
        """Different pairs of the whole pool."""
        return len(np.unique(self._columns()[1]))

    def cleaned(self, contaminated: np.ndarray) -> tuple[pd.DataFrame, dict[str, Accuracy]]:
        """What cleaning will make of the pairs, and how often clean ones prefer the longer answer.

        Args:
            contaminated: uint64 (m,) numbers of pairs that share words with a benchmark.

        Returns:
            `TALLIED`, and source -> share, as `pool_rows` takes them.
        """
        source, pair, content, sign = self._columns()
        why = np.full(len(pair), _WHYS.index(DUPLICATE))
        first = _first_of_each(pair, source)
        hit = np.isin(pair[first], contaminated)
        why[first[hit]] = _WHYS.index(CONTAMINATED)
        clean = first[~hit]
        _, of, labels = np.unique(content[clean], return_inverse=True, return_counts=True)
        why[clean] = np.where(labels[of] > 1, _WHYS.index(CONTRADICTION), 0)
        counts = np.zeros((len(self._codes), len(_WHYS)), dtype=np.int64)
        np.add.at(counts, (source, why), 1)
        rows = [
            (name, place < 2, reason, int(counts[code, place]))
            for name, code in self._codes.items()
            for place, reason in enumerate(_WHYS)
            if counts[code, place]
        ]
        tallied = pd.DataFrame(rows, columns=TALLIED)
        for_it, unequal = (
            np.bincount(source[clean], told, minlength=len(self._codes)).astype(int)
            for told in (sign[clean] > 0, sign[clean] != 0)
        )
        shares = {n: share_of(int(for_it[c]), int(unequal[c])) for n, c in self._codes.items()}
        return tallied, shares

    def overlaps(self) -> dict[str, dict[str, int]]:
        """Source -> repetitions and contradictions, within and between sources.

        `num_repeated`: pairs that stand in the source before. `num_elsewhere`: different pairs,
        under this label, that another source holds as well. `num_both_ways`: contents that the
        source itself labels both ways. `num_opposed`: contents that another one labels the other
        way.
        """
        source, pair, content, _ = self._columns()
        size = len(self._codes)
        distinct = _first_of_each(pair, source, within=True)
        source_of, pair_of, content_of = (each[distinct] for each in (source, pair, content))
        _, of, num_sources = np.unique(pair_of, return_inverse=True, return_counts=True)
        within, between = _contradictions(content_of, pair_of, source_of)
        numbers = {
            "num_repeated": np.bincount(source, minlength=size)
            - np.bincount(source_of, minlength=size),
            "num_elsewhere": np.bincount(source_of[num_sources[of] > 1], minlength=size),
        }
        return {
            name: {
                **{key: int(each[code]) for key, each in numbers.items()},
                "num_both_ways": within[code],
                "num_opposed": between[code],
            }
            for name, code in self._codes.items()
        }

    def _columns(self) -> tuple[np.ndarray, ...]:
        """Source, pair, content and sign of the length, (n,) each."""
        kinds = (np.int32, np.uint64, np.uint64, np.int8)
        empty = tuple(np.zeros(0, dtype=kind) for kind in kinds)
        return tuple(map(np.concatenate, zip(empty, *self._parts, strict=True)))


def id_numbers(ids: Sequence[bytes]) -> np.ndarray:
    """(n,) uint64: the first eight bytes of each id."""
    return np.frombuffer(b"".join(ids), dtype=np.uint64)[::2].copy()


def _first_of_each(pair: np.ndarray, source: np.ndarray, *, within: bool = False) -> np.ndarray:
    """Rows (m,) of each pair once, in the first source that has it, or in each that does."""
    order = np.lexsort((source, pair))
    is_first = np.ones(len(pair), dtype=bool)
    is_first[1:] = pair[order][1:] != pair[order][:-1]
    if within:
        is_first[1:] |= source[order][1:] != source[order][:-1]
    return np.asarray(order[is_first])


def _contradictions(
    content: np.ndarray, pair: np.ndarray, source: np.ndarray
) -> tuple[Counter[int], Counter[int]]:
    """How many contents each source labels both ways itself, and how many others oppose.

    Args:
        content: (m,) of the pairs of every source, each once.
        pair: (m,) pair under its label: a content has two at most.
        source: (m,) of the pair.
    """
    within: Counter[int] = Counter()
    between: Counter[int] = Counter()
    order = np.argsort(content, kind="stable")
    _, first, of = np.unique(content[order], return_index=True, return_inverse=True)
    other = pair[order] != pair[order][first][of]
    both = order[np.isin(of, of[other])]  # few: contents under both labels
    columns = (each[both].tolist() for each in (content, source, pair))
    for _, rows in groupby(zip(*columns, strict=True), key=itemgetter(0)):
        said: dict[int, set[int]] = {}
        for _, name, label in rows:
            said.setdefault(name, set()).add(label)
        for name, own in said.items():
            others = set().union(*(labels for each, labels in said.items() if each != name))
            within[name] += len(own) > 1
            between[name] += any(mine != theirs for mine in own for theirs in others)
    return within, between


def _cleaned(tally: pd.DataFrame) -> dict[str, Any]:
    kept = tally["kept"].astype(bool)
    dropped = tally[~kept]
    repeated = dropped["why"] == DUPLICATE
    others = dropped[~repeated]
    contradicted = tally[kept & (tally["why"] == CONTRADICTION)]
    return {
        "num_duplicates": int(dropped["num_pairs"][repeated].sum()),
        "num_dropped": int(others["num_pairs"].sum()),
        "dropped_as": _by_reason(others.rename(columns={"num_pairs": "num_rows"}), "why"),
        "num_clean": int(tally["num_pairs"][kept].sum()),
        "num_contradictory": int(contradicted["num_pairs"].sum()),
    }


def _by_reason(rows: pd.DataFrame, column: str) -> str:
    totals = rows.groupby(column)["num_rows"].sum().sort_values(ascending=False, kind="stable")
    return json.dumps({str(reason): int(number) for reason, number in totals.items()})
