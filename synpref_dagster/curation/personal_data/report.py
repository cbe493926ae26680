"""The personal-data report of a pool: findings per shard, pairs with their level, counts by source.

Levels are those of App. D.3, 0 to 3. Patterns give a first one; where judges looked at a pair,
theirs counts, because they tell a real person's data from an invented one's.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.personal_data.patterns import KINDS, Finding, find_in_texts
from synpref_dagster.pairs.record import ID_TYPE, is_among
from synpref_dagster.pairs.tallies import tally

NOT_JUDGED = -1
HIGH_LEVEL = 2  # App. D.3: levels 2 and 3 are looked at again
FINDING_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        ("source", pa.string()),
        ("field", pa.string()),
        ("kind", pa.string()),
        ("start", pa.int32()),
        ("length", pa.int32()),
        ("shape", pa.string()),
    ]
)
SCANNED_SCHEMA = pa.schema([("source", pa.string()), ("num_pairs", pa.int64())])
FLAGGED_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        ("source", pa.string()),
        ("kinds", pa.string()),
        ("pattern_level", pa.int8()),
    ]
)
SCORED_SCHEMA = pa.schema([*FLAGGED_SCHEMA, ("judge_level", pa.int8()), ("level", pa.int8())])
JOINED = "; "  # between the kinds of a pair
TALLIED = ["source", "kinds", "level", "judge_level"]
PAIR_COLUMNS = ["pair_id", "source", "kinds", "pattern_level", "judge_level", "level"]


def scan_shard(table: pa.Table) -> dict[str, pa.Table]:
    """Personal data in one shard of a pool.

    Args:
        table: `PAIR_SCHEMA`.

    Returns:
        "findings" with `FINDING_SCHEMA`, in the order of the pairs; `field` is `turn N` (from 0),
        `chosen` or `rejected`. "scanned" with `SCANNED_SCHEMA`: pairs looked at, by source.
    """
    found = sorted(_found(table), key=lambda row: row[0])
    rows = pa.array([row for row, _, _ in found], pa.int64())
    ids = table.column("pair_id").combine_chunks().take(rows)
    columns = [
        ids,
        table.column("source").combine_chunks().take(rows),
        pa.array([field for _, field, _ in found], pa.string()),
    ]
    for name in ("kind", "start", "length", "shape"):
        values = [getattr(finding, name) for _, _, finding in found]
        columns.append(pa.array(values, FINDING_SCHEMA.field(name).type))
    counts = table.group_by("source", use_threads=False).aggregate([([], "count_all")])
    return {
        "findings": pa.Table.from_arrays(columns, schema=FINDING_SCHEMA),
        "scanned": pa.Table.from_arrays(
            [counts["source"], counts["count_all"]], schema=SCANNED_SCHEMA
        ),
    }


def flagged_pairs(findings: pd.DataFrame) -> pd.DataFrame:
    """One row per pair with findings: pair_id, source, kinds (joined by "; "), pattern_level.

    A pair that stands in several sources belongs to the first.
    """
    known = findings.assign(pattern_level=findings["kind"].map(KINDS).astype("int8"))
    pairs = known.groupby("pair_id", sort=False).agg(
        source=("source", "first"),
        kinds=("kind", lambda kinds: JOINED.join(sorted(set(kinds)))),
        pattern_level=("pattern_level", "max"),
    )
    return pairs.reset_index()


def with_judges(flagged: pd.DataFrame, judged: pd.DataFrame | None = None) -> pd.DataFrame:
    """Flagged and judged pairs with both levels; a judged level replaces the pattern's.

    Args:
        flagged: what `flagged_pairs` gives.
        judged: pair_id, source, judge_level (`NOT_JUDGED` where no judge could tell); None when
            nobody was asked.

    Returns:
        `PAIR_COLUMNS`; pairs of the sample have no kinds and pattern_level 0.
    """
    if judged is None:
        judged = pd.DataFrame(columns=["pair_id", "source", "judge_level"], dtype=object)
    sampled = judged[~is_among(judged["pair_id"], flagged["pair_id"])]
    pairs = pd.concat(
        [flagged, sampled[["pair_id", "source"]].assign(kinds="", pattern_level=0)],
        ignore_index=True,
    )
    levels = dict(zip(judged["pair_id"], judged["judge_level"], strict=True))
    told = np.array([levels.get(each, NOT_JUDGED) for each in pairs["pair_id"]], dtype=np.int8)
    first = pairs["pattern_level"].to_numpy(np.int8)
    return pairs.assign(
        pattern_level=first, judge_level=told, level=np.where(told == NOT_JUDGED, first, told)
    )[PAIR_COLUMNS]


def pairs_to_drop(pairs: pd.DataFrame, *, level: int) -> dict[bytes, str]:
    """pair_id -> why, for pairs whose level is at least `level`; kinds only, never the data."""
    high = pairs[pairs["level"] >= level]
    return {
        row.pair_id: f"level {row.level}: {row.kinds or 'found by judges'}"
        for row in high.itertuples()
    }


def tally_pairs(shards: Iterable[pa.Table]) -> pd.DataFrame:
    """How many pairs there are of each kind: source, kinds, level, judge_level and num_pairs.

    Args:
        shards: at least the columns `TALLIED`, each pair once.
    """
    return tally(shards, TALLIED, count="num_pairs")


def count_by_source(scanned: pd.DataFrame, tallied: pd.DataFrame) -> pd.DataFrame:
    """Pairs with each kind, by source: one row per source, also those without a finding.

    Args:
        scanned: source and num_pairs, several rows per source allowed.
        tallied: from `tally_pairs`.

    Returns:
        source, num_pairs, num_flagged, then one column per kind that occurs, in order of `KINDS`.
    """
    totals = scanned.groupby("source")["num_pairs"].sum().to_frame()
    flagged = tallied[tallied["kinds"] != ""]
    report = totals.assign(num_flagged=flagged.groupby("source")["num_pairs"].sum())
    for kind in KINDS:
        has = np.array([kind in kinds.split(JOINED) for kinds in flagged["kinds"]], dtype=bool)
        if has.any():
            report[kind] = flagged[has].groupby("source")["num_pairs"].sum()
    return report.fillna(0).astype("int64").reset_index()


def sample_estimate(tallied: pd.DataFrame) -> dict[str, float]:
    """What judges say of the patterns: share of findings above level 0, of the sample at level 2+.

    Empty when nothing was judged.
    """
    judged = tallied[tallied["judge_level"] != NOT_JUDGED]
    estimate = {}
    flagged, sampled = judged[judged["kinds"] != ""], judged[judged["kinds"] == ""]
    if len(flagged):
        confirmed = num_pairs(flagged, flagged["judge_level"] > 0)
        estimate["confirmed_share"] = confirmed / int(flagged["num_pairs"].sum())
    if len(sampled):
        missed = num_pairs(sampled, sampled["judge_level"] >= HIGH_LEVEL)
        estimate["missed_share"] = missed / int(sampled["num_pairs"].sum())
    return estimate


def level_counts(tallied: pd.DataFrame) -> Mapping[str, int]:
    """Number of pairs by level, 0 to 3, of those flagged or judged."""
    counts = tallied.groupby("level")["num_pairs"].sum()
    return {f"level {level}": int(counts.get(level, 0)) for level in range(4)}


def num_pairs(tallied: pd.DataFrame, rows: pd.Series) -> int:
    """How many pairs stand in some rows of a tally."""
    return int(tallied.loc[rows, "num_pairs"].sum())


def _found(table: pa.Table) -> Iterator[tuple[int, str, Finding]]:
    """(row, field, finding) for everything in a table, field by field."""
    conversations = table.column("conversation").combine_chunks()
    turns = conversations.flatten()
    owners = np.asarray(pc.list_parent_indices(conversations))
    numbers = np.arange(len(owners)) - np.searchsorted(owners, owners)
    for text, finding in find_in_texts(_texts(turns.field("content"))):
        yield int(owners[text]), f"turn {numbers[text]}", finding
    for side in ("chosen", "rejected"):
        for row, finding in find_in_texts(_texts(table.column(side))):
            yield row, side, finding


def _texts(column: pa.Array | pa.ChunkedArray) -> list[str]:
    # A raw pool may hold nulls; they are dropped later, with their reason.
    return pc.fill_null(column, "").to_pylist()
