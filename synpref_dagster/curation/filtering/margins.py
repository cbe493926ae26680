"""The distribution of a pool's margins, added up from counts per shard: no margin is kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.pairs.columns import from_numbers, from_strings, to_numbers

BINS_PER_UNIT = 64
MOST_UNITS = 1_024.0  # margins beyond count as this far
WITNESSES = ("best", "gold")
TOTAL_SCHEMA = pa.schema(
    [
        ("num_pairs", pa.int64()),
        ("num_agreeing", pa.int64()),
        *((f"num_{name}_positive", pa.int64()) for name in WITNESSES),
        *((f"num_{name}_missing", pa.int64()) for name in WITNESSES),
    ]
)
BIN_SCHEMA = pa.schema([("witness", pa.string()), ("bin", pa.int64()), ("num_pairs", pa.int64())])


def count_margins(rewards: pa.Table) -> dict[str, pa.Table]:
    """Counts of one shard; made for `map_shards`.

    Args:
        rewards: best_margin, gold_margin; missing where they are not finite.

    Returns:
        "totals" with `TOTAL_SCHEMA`, one row; "bins" with `BIN_SCHEMA`: bin k of a witness holds
        the margins from k / `BINS_PER_UNIT` on.
    """
    margins = {
        name: to_numbers(rewards.column(f"{name}_margin"), null=np.nan) for name in WITNESSES
    }
    totals = {
        "num_pairs": rewards.num_rows,
        "num_agreeing": int((np.sign(margins["best"]) == np.sign(margins["gold"])).sum()),
        **{f"num_{name}_positive": int((each > 0).sum()) for name, each in margins.items()},
        **{
            f"num_{name}_missing": int((~np.isfinite(each)).sum()) for name, each in margins.items()
        },
    }
    counted = [_binned(name, each) for name, each in margins.items()]
    return {
        "totals": pa.Table.from_pylist([totals], schema=TOTAL_SCHEMA),
        "bins": pa.concat_tables(counted),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class MarginCounts:
    """The margins of a pool in numbers."""

    totals: dict[str, int]
    """The columns of `TOTAL_SCHEMA`, summed."""
    edges: np.ndarray
    """float64 (bins + 1,): shared by all witnesses."""
    counts: dict[str, np.ndarray]
    """Witness -> int64 (bins,)."""

    def share(self, name: str) -> float:
        """A total as a share of all pairs; NaN without any."""
        num_pairs = self.totals["num_pairs"]
        return self.totals[name] / num_pairs if num_pairs else np.nan


def sum_margins(
    totals: Iterable[pa.Table], bins: Iterable[pa.Table], *, num_bins: int = 30
) -> MarginCounts:
    """Sums the shards' counts into about `num_bins` equal bins with an edge at zero."""
    summed = dict.fromkeys(TOTAL_SCHEMA.names, 0)
    for row in (row for table in totals for row in table.to_pylist()):
        summed = {name: summed[name] + row[name] for name in summed}
    found: dict[str, dict[int, int]] = {name: {} for name in WITNESSES}
    for row in (row for table in bins for row in table.to_pylist()):
        of_witness = found[row["witness"]]
        of_witness[row["bin"]] = of_witness.get(row["bin"], 0) + row["num_pairs"]
    edges, counts = _regrouped(found, num_bins)
    return MarginCounts(totals=summed, edges=edges, counts=counts)


def margins_by(tables: Iterable[pa.Table], column: str, *, num_bins: int = 30) -> dict[str, Any]:
    """How the margins under the best RM lie, apart by the values of a column.

    Args:
        tables: `best_margin` and the column of few different values, one shard in memory.
        column: for instance `decision`.
        num_bins: about so many equal bins, with an edge at zero.

    Returns:
        `edges` of the bins, one more than there are; `num_pairs`, value -> pairs in each bin. Pairs
        without a reward are in none.
    """
    found: dict[str, dict[int, int]] = {}
    for table in tables:
        for value in pc.unique(table.column(column)).to_pylist():
            rows = table.filter(pc.equal(table.column(column), value))
            margins = to_numbers(rows.column("best_margin"), null=np.nan)
            of_value = found.setdefault(str(value), {})
            for place, number in zip(*_places(margins), strict=True):
                of_value[int(place)] = of_value.get(int(place), 0) + int(number)
    edges, counts = _regrouped(found, num_bins)
    return {
        "edges": edges.tolist(),
        "num_pairs": {name: each.tolist() for name, each in sorted(counts.items())},
    }


def _regrouped(
    found: Mapping[str, Mapping[int, int]], num_bins: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Edges and counts of about `num_bins` equal bins with an edge at zero, made of fine ones."""
    places = sorted({place for of_one in found.values() for place in of_one}) or [0]
    width = -(-(places[-1] - places[0] + 1) // num_bins)
    start = places[0] // width * width
    size = (places[-1] - start) // width + 1
    counts = {name: np.zeros(size, dtype=np.int64) for name in found}
    for name, of_one in found.items():
        for place, num_pairs in of_one.items():
            counts[name][(place - start) // width] += num_pairs
    return (start + width * np.arange(size + 1)) / BINS_PER_UNIT, counts


def _places(margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fine bins that hold margins, and how many each holds."""
    finite = margins[np.isfinite(margins)].astype(np.float64)
    places = np.floor(np.clip(finite, -MOST_UNITS, MOST_UNITS) * BINS_PER_UNIT).astype(np.int64)
    return np.unique(places, return_counts=True)


def _binned(name: str, margins: np.ndarray) -> pa.Table:
    bins, counts = _places(margins)
    columns = [from_strings([name] * len(bins)), from_numbers(bins), from_numbers(counts)]
    return pa.Table.from_arrays(columns, schema=BIN_SCHEMA)
