"""Box 1: the raw pool, read from all sources, and the prompts that benchmarks are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from synpref_dagster.assets.pool.checks import (
    count_quarantined,
    pool_specs,
    raw_pairs_found,
    rows_by_reason,
)
from synpref_dagster.assets.step import box, campaign_step, conservation, shard_counts
from synpref_dagster.benchmarks.custom import left_out
from synpref_dagster.pairs.progress import FilesSkipped, tell
from synpref_dagster.publishing.plots import bar_plot
from synpref_dagster.resources.campaign import Campaign, told_as
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.sources import LISTING, READING_VERSION, UNREAD, PoolSources
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.sources.held_out import truth_columns
from synpref_dagster.sources.shards import unread_columns
from synpref_dagster.storage import SelectionRef, iter_tables

GROUP = "1_pool"
NUM_NAMED, MAX_LISTED = 5, 100  # skipped files in the log, and per source in the metadata


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, code_version=READING_VERSION),
    check_specs=pool_specs("raw_pool"),
)
def raw_pool(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    executors: Executors,
    tracking: MlflowTracking,
) -> dg.MaterializeResult:
    """Pairs read from every source of the profile; rows that are no pairs are quarantined.

    Kept: `PAIR_SCHEMA`, texts included, in source order. Dropped: source, row number, reason and
    the first characters of each bad row. Columns that nobody read are listed per source.
    """
    with campaign_step(context, campaign, tracking) as step:
        listed = sources.listed()
        listing = sources.listing()  # Before reading: what arrives meanwhile is new tomorrow.
        read = sources.read_pool(version=step.version, executor=executors.get())
        pool = SelectionRef(kept=read.outputs["kept"], dropped=read.outputs["dropped"])
        step.note(shard_counts(read, "files"))
        skipped = sources.skipped_files()
        if num_skipped := sum(map(len, skipped.values())):
            some = [path.rpartition("/")[2] for paths in skipped.values() for path in paths]
            tell(context.log, FilesSkipped(num_skipped, ", ".join(some[:NUM_NAMED])))
        counts = campaign.frame(read.outputs["counts"]).groupby("source", sort=False).sum()
        quarantined = count_quarantined(iter_tables(pool.dropped, ["source", "reason", "detail"]))
        reasons = rows_by_reason(quarantined)
        unread = unread_columns(
            iter_tables(read.outputs["unread"]),
            besides=truth_columns(campaign.profile.pool, campaign.seed),
        )
        return step.result(
            pool,
            metrics={
                "num_read": int(counts["num_rows"].sum()),
                "num_pairs": pool.kept.num_rows,
                "num_quarantined": pool.dropped.num_rows,
                "num_files_skipped": num_skipped,
            },
            facts={
                LISTING: listing,
                told_as(LISTING): listed,
                "files_skipped": {name: paths[:MAX_LISTED] for name, paths in skipped.items()},
                "quarantined_by_reason": reasons,
                UNREAD: _table_of(unread),
                "rows_by_source": {str(k): int(v) for k, v in counts["num_rows"].items()},
            },
            plot=bar_plot(reasons, title="Quarantined rows", value_label="rows", percent=False),
            checks=[
                conservation(
                    int(counts["num_rows"].sum() + counts["num_unfolded"].sum()),
                    {
                        "pairs": pool.kept.num_rows,
                        "quarantined": pool.dropped.num_rows,
                        "outside_the_selected_part": int(counts["num_outside"].sum()),
                    },
                ),
                raw_pairs_found(pool, counts, quarantined),
            ],
        )


def _table_of(unread: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    kinds = {"source": "string", "column": "string", "num_rows": "int"}
    return dg.MetadataValue.table(
        [dg.TableRecord(row) for row in unread],
        schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in kinds.items()]),
    )


@dg.asset(**box(GROUP, kinds={"python", "parquet"}))
def benchmark_prompts(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    tracking: MlflowTracking,
) -> dg.MaterializeResult:
    """First-turn prompts of every benchmark, fingerprinted: nothing trained on may contain them.

    Rows of suites of one's own that are no comparison are left out; `left_out` counts them.
    """
    with campaign_step(context, campaign, tracking) as step:
        prompts = step.dataset(sources.benchmark_prompts, inputs=[sources.benchmark_fingerprint()])
        by_benchmark = campaign.frame(prompts, ["benchmark"])["benchmark"].value_counts()
        return step.result(
            prompts,
            metrics={"num_prompts": prompts.num_rows},
            facts={
                "prompts_by_benchmark": {str(k): int(v) for k, v in by_benchmark.items()},
                **left_out(sources.benchmarks()),
            },
        )
