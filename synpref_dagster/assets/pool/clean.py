"""Box 1: the clean pool, and the check that nothing of a benchmark is in it."""

from typing import Any

import dagster as dg

from synpref_dagster.assets.by_source import pool_by_source, shown_by_source
from synpref_dagster.assets.pool.checks import clean_pairs_found, pool_specs
from synpref_dagster.assets.pool.raw import GROUP
from synpref_dagster.assets.pool.recheck import cleared_in, recheck_fact, rechecked_hits
from synpref_dagster.assets.step import Step, box, campaign_step, conservation, shard_counts
from synpref_dagster.curation.contamination.shards import (
    contaminated_pairs,
    counts_by_benchmark,
    look_for_benchmarks,
)
from synpref_dagster.curation.pool.key_index import mark_pool
from synpref_dagster.curation.pool.screening import contamination_config
from synpref_dagster.curation.pool.selection import dropped_by_reason, risk_counts, select_clean
from synpref_dagster.curation.pool.shards import revise_screening, screen_pool
from synpref_dagster.publishing.plots import bar_plot
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, MapResult, SelectionRef, map_shards


def build_clean_pool(*, drops_personal_data: bool) -> dg.AssetsDefinition:
    """The clean pool, resting on the personal-data report only where the profile drops by it."""
    return dg.asset(
        **box(GROUP, kinds={"python", "parquet"}, code_version="3"),
        ins={"pii_report": dg.AssetIn()} if drops_personal_data else {},
        check_specs=pool_specs("clean_pool"),
    )(clean_pool)


def clean_pool(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    judges: JudgePanel,
    tracking: MlflowTracking,
    raw_pool: SelectionRef,
    benchmark_prompts: DatasetRef,
    **reports: Any,
) -> dg.MaterializeResult:
    """Sound, distinct, uncontaminated pairs (App. D.1); risky ones are marked with the reason.

    Kept is a selection: ids, source, origin and risk (contradictory label, preference cycle); texts
    stay in the raw pool. Dropped rows carry their reason: for contamination benchmark, item and
    n-gram, for personal data (App. D.3), where the profile drops by it, level and kinds.
    """
    found = {name: report["pairs"] for name, report in reports.items()}
    inputs = {"raw_pool": raw_pool, "prompts": benchmark_prompts, **found}
    with campaign_step(context, campaign, tracking, inputs) as step:
        return _clean(
            step,
            executors,
            raw_pool,
            judges=judges,
            prompts=benchmark_prompts,
            personal_data=found.get("pii_report"),
        )


@dg.asset_check(
    asset="clean_pool",
    additional_ins={"benchmark_prompts": dg.AssetIn("benchmark_prompts")},
    blocking=True,
    description="No clean pair shares an n-gram or a whole prompt with a benchmark (App. D.1), "
    "but for those that judges cleared where the profile lets them.",
)
def zero_contamination(
    campaign: Campaign,
    executors: Executors,
    clean_pool: SelectionRef,
    benchmark_prompts: DatasetRef,
) -> dg.AssetCheckResult:
    """Look at every clean pair again, whatever was screened: zero hits, or nothing downstream.

    The look has evidence of its own, and takes nothing from that of the screening. A shard in which
    a benchmark was looked for before is not looked at again for it.
    """
    texts = campaign.texts(clean_pool.kept)
    looked = look_for_benchmarks(
        texts,
        benchmark_prompts,
        uri=campaign.uri("data", "clean_pool", "zero_contamination", "looked_for"),
        config=contamination_config(campaign.profile.pool.ngram_words),
        executor=executors.get(),
    )
    found = contaminated_pairs(clean_pool.kept, texts, list(looked.refs.values()))
    cleared = cleared_in(campaign, clean_pool.kept)
    num_contaminated = len(set(found) - cleared)
    num_pairs = clean_pool.kept.num_rows
    return dg.AssetCheckResult(
        passed=num_contaminated == 0,
        description=f"{num_contaminated} of {num_pairs:,} clean pairs are contaminated",
        metadata={
            "num_pairs": num_pairs,
            "num_contaminated": num_contaminated,
            "num_cleared_by_judges": len(cleared),
            **shard_counts(looked, "shards"),
            **counts_by_benchmark(looked),
        },
    )


def _clean(
    step: Step,
    executors: Executors,
    raw_pool: SelectionRef,
    *,
    judges: JudgePanel,
    prompts: DatasetRef,
    personal_data: DatasetRef | None,
) -> dg.MaterializeResult:
    campaign = step.campaign
    screened = _screen(step, executors, raw_pool, prompts=prompts).ref
    rechecked = rechecked_hits(step, judges, screened, texts=raw_pool.kept, prompts=prompts)
    found = revise_screening(
        screened,
        hits=rechecked,
        personal_data=personal_data,
        uri=campaign.uri("data", step.name, "reviewed"),
        drop_level=campaign.profile.pool.pii.drop_level,
        executor=executors.get(),
    )
    marked = mark_pool(found, uri=campaign.uri("data", step.name, "index"))
    step.note(
        {
            "num_shards_compared": marked.num_new_shards,
            "num_known_pairs_compared_again": marked.num_known_pairs_read,
        }
    )
    cleaned = map_shards(
        select_clean,
        found,
        beside=[marked.marks],
        uri=campaign.uri("data", step.name),
        version=step.version,
        meta={"texts": campaign.as_fact(raw_pool.kept), **recheck_fact(rechecked)},
        executor=executors.get(),
        outputs=["kept", "dropped", "tally"],
    ).outputs
    pool = SelectionRef(kept=cleaned["kept"], dropped=cleaned["dropped"])
    tally = campaign.frame(cleaned["tally"])
    reasons = dropped_by_reason(tally)
    sources = pool_by_source(step, executors, raw_pool, clean=pool, cleaned=cleaned["tally"])
    return step.result(
        pool,
        metrics={
            "num_clean": pool.kept.num_rows,
            "num_dropped": pool.dropped.num_rows,
            **risk_counts(tally),
        },
        facts={"dropped_by_reason": reasons, **shown_by_source(campaign, sources)},
        plot=bar_plot(reasons, title="Dropped while cleaning", value_label="pairs", percent=False),
        checks=[
            conservation(
                raw_pool.kept.num_rows,
                {"clean": pool.kept.num_rows, "dropped": pool.dropped.num_rows},
            ),
            clean_pairs_found(pool, num_in=raw_pool.kept.num_rows, reasons=reasons),
        ],
    )


def _screen(
    step: Step, executors: Executors, raw_pool: SelectionRef, *, prompts: DatasetRef
) -> MapResult:
    """Screens every pair; reads a shard only for benchmarks not yet searched there."""
    screening = screen_pool(
        raw_pool.kept,
        prompts,
        uri=step.campaign.uri("data", step.name),
        version=step.version,
        config=contamination_config(step.campaign.profile.pool.ngram_words),
        executor=executors.get(),
    )
    step.note(shard_counts(screening, "shards"), counts_by_benchmark(screening.looked))
    return screening.screened
