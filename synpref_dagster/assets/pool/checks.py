"""Whether the pool holds pairs at all: a campaign without any stops where they were lost."""

import re
from collections.abc import Iterable, Mapping

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.assets.step import conservation_spec
from synpref_dagster.pairs.tallies import tally
from synpref_dagster.storage import SelectionRef

PAIRS_FOUND = "pairs_found"
MOST = 0.5  # a source that loses more of its rows is probably read in the wrong layout
NUM_NAMED = 3
MISSING_COLUMN = "missing_column"
_MISSING_NAMES = re.compile(r"no [^:;]+$")  # behind the name of the file, where there is one


def pool_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The blocking checks of a pool: no row vanishes, and there is a pair to go on with."""
    return [
        *conservation_spec(asset),
        dg.AssetCheckSpec(
            PAIRS_FOUND,
            asset=asset,
            blocking=True,
            description="There are pairs to go on with; a source that lost most rows is named.",
        ),
    ]


def count_quarantined(shards: Iterable[pa.Table]) -> pd.DataFrame:
    """source, reason and num_rows of quarantined rows, in order of first appearance.

    A reason that is not the whole story says it behind itself: `missing_column (no chosen)`.

    Args:
        shards: source and reason of each row, and the detail where names are wanted.
    """
    return tally(map(_with_missing, shards), ["source", "reason"], count="num_rows")


def _with_missing(shard: pa.Table) -> pa.Table:
    """Source and reason, with the names of missing columns in the latter."""
    is_missing = pc.any(pc.equal(shard["reason"], MISSING_COLUMN)).as_py()
    if not is_missing or "detail" not in shard.column_names:
        return shard.select(["source", "reason"])
    reasons = [
        f"{reason} ({told[0]})"
        if reason == MISSING_COLUMN and (told := _MISSING_NAMES.search(detail or ""))
        else reason
        for reason, detail in zip(
            shard["reason"].to_pylist(), shard["detail"].to_pylist(), strict=True
        )
    ]
    return pa.table({"source": shard["source"], "reason": pa.array(reasons, pa.string())})


def rows_by_reason(quarantined: pd.DataFrame) -> dict[str, int]:
    """Number of rows per reason, most frequent first, from what `count_quarantined` gives."""
    return _by_words(
        quarantined["reason"].astype(str).str.replace(r" \(.*", "", regex=True), quarantined
    )


def _reasons_told(quarantined: pd.DataFrame) -> dict[str, int]:
    """The same, with what a reason says behind itself."""
    return _by_words(quarantined["reason"], quarantined)


def _by_words(words: pd.Series, quarantined: pd.DataFrame) -> dict[str, int]:
    totals = quarantined["num_rows"].groupby(words.to_numpy(), sort=False).sum()
    totals = totals.sort_values(ascending=False, kind="stable")
    return {str(reason): int(count) for reason, count in totals.items()}


def raw_pairs_found(
    pool: SelectionRef, counts: pd.DataFrame, quarantined: pd.DataFrame
) -> dg.AssetCheckResult:
    """Stops a campaign whose sources hold no pair; warns of each source that lost most rows.

    Args:
        pool: pairs and quarantined rows.
        counts: per source, as its index: num_rows, num_unfolded and num_outside.
        quarantined: from `count_quarantined`.
    """
    if not pool.kept.num_rows:
        num_read, num_outside = int(counts["num_rows"].sum()), int(counts["num_outside"].sum())
        told = [_by_reason("quarantined as", _reasons_told(quarantined))]
        told += [f"{num_outside:,} outside the part that the options select"] * (num_outside > 0)
        what = "; ".join(part for part in told if part) or "the sources are empty"
        return _stop(f"{num_read:,} rows read, no pair among them: {what}", pool)
    lost = {
        str(source): rows
        for source, rows in quarantined.groupby("source", sort=True)
        if rows["num_rows"].sum() > MOST * counts.loc[source, ["num_rows", "num_unfolded"]].sum()
    }
    warnings = [
        f"source {source!r} lost {int(rows['num_rows'].sum()):,} of "
        f"{int(counts.loc[source, ['num_rows', 'num_unfolded']].sum()):,} rows: "
        + _by_reason("quarantined as", _reasons_told(rows))
        for source, rows in lost.items()
    ]
    return dg.AssetCheckResult(
        check_name=PAIRS_FOUND,
        passed=not lost,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(warnings) or f"{pool.kept.num_rows:,} pairs",
        metadata={"num_pairs": pool.kept.num_rows, "sources_that_lost_most": sorted(lost)},
    )


def clean_pairs_found(
    pool: SelectionRef, *, num_in: int, reasons: Mapping[str, int]
) -> dg.AssetCheckResult:
    """Stops a campaign none of whose pairs is clean."""
    if not pool.kept.num_rows:
        what = _by_reason("dropped as", reasons)
        return _stop(f"{num_in:,} pairs, no clean one among them: {what}", pool)
    return dg.AssetCheckResult(
        check_name=PAIRS_FOUND,
        passed=True,
        description=f"{pool.kept.num_rows:,} clean pairs",
        metadata={"num_pairs": pool.kept.num_rows},
    )


def _stop(why: str, pool: SelectionRef) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=PAIRS_FOUND,
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{why}; the rows lie in {pool.dropped.uri}",
        metadata={"num_pairs": 0, "dropped_uri": pool.dropped.uri},
    )


def _by_reason(verb: str, reasons: Mapping[str, int]) -> str:
    """`580 quarantined as tied, 20 as not_json`: the most frequent reasons first."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count:,} as {reason}" for reason, count in ordered[:NUM_NAMED]]
    if rest := sum(count for _, count in ordered[NUM_NAMED:]):
        told.append(f"{rest:,} for other reasons")
    return ", ".join(told).replace(" as ", f" {verb} ", 1)
