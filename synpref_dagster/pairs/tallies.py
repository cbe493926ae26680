"""How many rows of each kind many shards hold, one shard in memory at a time."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa


def tally(shards: Iterable[pa.Table], columns: Sequence[str], *, count: str) -> pd.DataFrame:
    """One row per combination of values, in order of first appearance, and how often it occurs.

    Args:
        shards: tables with at least these columns.
        columns: of few different values.
        count: name of the column of numbers.
    """
    found: Counter[tuple[Any, ...]] = Counter()
    for table in shards:
        # One thread: groups then come in order of first appearance.
        groups = table.group_by(list(columns), use_threads=False).aggregate([([], "count_all")])
        for row in groups.to_pylist():
            found[tuple(row[name] for name in columns)] += row["count_all"]
    rows = [(*kind, number) for kind, number in found.items()]
    return pd.DataFrame(rows, columns=[*columns, count])
