"""Box 1 of the figure: the pool, read, cleaned and decontaminated."""

from functools import partial
from itertools import pairwise
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from synpref_dagster.assets.contamination_review import cleared_in, review_fact, reviewed_hits
from synpref_dagster.assets.pool_checks import clean_pairs_found, pool_specs, raw_pairs_found
from synpref_dagster.assets.step import (
    Result,
    Step,
    box,
    campaign_step,
    conservation,
    shard_counts,
)
from synpref_dagster.curation.contamination_review import cleared_pairs, with_cleared
from synpref_dagster.curation.decontamination import ALGORITHM_VERSION
from synpref_dagster.curation.pairs import is_among
from synpref_dagster.curation.personal_data_report import pairs_to_drop
from synpref_dagster.curation.pooling import count_reasons, screen_structure, select_clean
from synpref_dagster.curation.routing import risk_counts
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.plots import bar_plot
from synpref_dagster.resources.pool_shards import contaminated_shard, ids_of, screen_shard
from synpref_dagster.resources.pool_sources import LISTING, PoolSources
from synpref_dagster.resources.shards import Shards
from synpref_dagster.resources.tracking import MlflowTracking
from synpref_dagster.storage import DatasetRef, MapResult, SelectionRef, map_shards, read_manifest

GROUP = "1_pool"


@dg.asset(**box(GROUP, kinds={"python", "parquet"}), check_specs=pool_specs("raw_pool"))
def raw_pool(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    shards: Shards,
    tracking: MlflowTracking,
) -> dg.MaterializeResult:
    """Pairs read from every source of the profile; rows that are no pairs are quarantined.

    Kept: `PAIR_SCHEMA`, texts included, in source order. Dropped: source, row number, reason and
    the first characters of each bad row.
    """
    with campaign_step(context, campaign, tracking) as step:
        listing = sources.listing()  # Before reading: what arrives meanwhile is new tomorrow.
        read = sources.read_pool(version=step.version, executor=shards.executor())
        pool = SelectionRef(kept=read.outputs["kept"], dropped=read.outputs["dropped"])
        step.note(shard_counts(read, "files"))
        counts = campaign.frame(read.outputs["counts"]).groupby("source", sort=False).sum()
        quarantined = campaign.frame(pool.dropped, ["source", "reason"])
        reasons = count_reasons(quarantined)
        return step.result(
            pool,
            metrics={
                "num_read": int(counts["num_rows"].sum()),
                "num_pairs": pool.kept.num_rows,
                "num_quarantined": pool.dropped.num_rows,
            },
            facts={
                LISTING: listing,
                "quarantined_by_reason": reasons,
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


@dg.asset(**box(GROUP, kinds={"python", "parquet"}))
def benchmark_prompts(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    tracking: MlflowTracking,
) -> dg.MaterializeResult:
    """First-turn prompts of every benchmark, fingerprinted: nothing trained on may contain them."""
    with campaign_step(context, campaign, tracking) as step:
        prompts = step.dataset(sources.benchmark_prompts, inputs=[sources.benchmark_fingerprint()])
        by_benchmark = campaign.frame(prompts, ["benchmark"])["benchmark"].value_counts()
        return step.result(
            prompts,
            metrics={"num_prompts": prompts.num_rows},
            facts={"prompts_by_benchmark": {str(k): int(v) for k, v in by_benchmark.items()}},
        )


def build_clean_pool(*, drops_personal_data: bool) -> list[dg.AssetsDefinition]:
    """The clean pool, resting on the personal-data report only where the profile drops by it."""
    body = clean_pool_without_personal_data if drops_personal_data else clean_pool
    return [
        dg.asset(
            **box(GROUP, kinds={"python", "parquet"}, code_version="2"),
            name="clean_pool",
            check_specs=pool_specs("clean_pool"),
        )(body)
    ]


def clean_pool(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    shards: Shards,
    judges: JudgePanel,
    tracking: MlflowTracking,
    raw_pool: SelectionRef,
    benchmark_prompts: DatasetRef,
) -> dg.MaterializeResult:
    """Sound, distinct, uncontaminated pairs (App. D.1); risky ones are marked with the reason.

    Kept is a selection: ids, source, origin and risk (contradictory label, preference cycle); texts
    stay in the raw pool. Dropped rows carry their reason and, for contamination, benchmark, item
    and n-gram.
    """
    inputs: dict[str, Result] = {"raw_pool": raw_pool, "prompts": benchmark_prompts}
    with campaign_step(context, campaign, tracking, inputs) as step:
        return _clean(step, shards, raw_pool, judges=judges, prompts=benchmark_prompts)


def clean_pool_without_personal_data(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    shards: Shards,
    judges: JudgePanel,
    tracking: MlflowTracking,
    raw_pool: SelectionRef,
    benchmark_prompts: DatasetRef,
    pii_report: dict[str, DatasetRef],
) -> dg.MaterializeResult:
    """Sound, distinct, uncontaminated pairs (App. D.1) without personal data (App. D.3).

    Kept is a selection: ids, source, origin and risk (contradictory label, preference cycle); texts
    stay in the raw pool. Dropped rows carry their reason: for contamination benchmark, item and
    n-gram, for personal data level and kinds.
    """
    inputs: dict[str, Result] = {"raw_pool": raw_pool, "prompts": benchmark_prompts}
    inputs["pii_report"] = pii_report["pairs"]
    with campaign_step(context, campaign, tracking, inputs) as step:
        return _clean(
            step,
            shards,
            raw_pool,
            judges=judges,
            prompts=benchmark_prompts,
            personal_data=pii_report["pairs"],
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
    shards: Shards,
    clean_pool: SelectionRef,
    benchmark_prompts: DatasetRef,
) -> dg.AssetCheckResult:
    """Look at every clean pair again, whatever was screened: zero hits, or nothing downstream.

    A shard that was looked at before, with the same prompts, is not looked at again.
    """
    uri = campaign.uri("data", "clean_pool", "zero_contamination")
    ids = ids_of(clean_pool.kept, uri=f"{uri}/ids")
    found = map_shards(
        partial(contaminated_shard, prompts_ref=benchmark_prompts),
        ids,
        beside=[campaign.texts(clean_pool.kept)],
        uri=f"{uri}/contaminated",
        version=ALGORITHM_VERSION,
        params={
            "prompts": benchmark_prompts.fingerprint,
            "ngram_words": campaign.profile.pool.ngram_words,
        },
        executor=shards.executor(),
    )
    cleared = cleared_in(campaign, clean_pool.kept)
    num_contaminated = int((~is_among(campaign.frame(found.ref)["pair_id"], cleared)).sum())
    return dg.AssetCheckResult(
        passed=num_contaminated == 0,
        description=f"{num_contaminated} of {ids.num_rows:,} clean pairs are contaminated",
        metadata={
            "num_pairs": ids.num_rows,
            "num_contaminated": num_contaminated,
            "num_cleared_by_judges": len(cleared),
            **shard_counts(found, "shards"),
        },
    )


def _clean(
    step: Step,
    shards: Shards,
    raw_pool: SelectionRef,
    *,
    judges: JudgePanel,
    prompts: DatasetRef,
    personal_data: DatasetRef | None = None,
) -> dg.MaterializeResult:
    campaign, settings = step.campaign, step.campaign.profile.pool
    screened = _screen(step, shards, raw_pool, prompts=prompts)
    reviewed = reviewed_hits(step, judges, screened.ref, texts=raw_pool.kept, prompts=prompts)
    params: dict[str, Any] = {"ngram_words": settings.ngram_words}
    if personal_data is not None:
        params["pii_drop_level"] = settings.pii.drop_level
    pool = step.selection(
        lambda: _clean_by_shard(campaign, screened.ref, personal_data, reviewed=reviewed),
        inputs=[raw_pool, prompts, *(ref for ref in (personal_data, reviewed) if ref)],
        params=params,
        meta={"texts": campaign.as_fact(raw_pool.kept), **review_fact(reviewed)},
    )
    reasons = count_reasons(campaign.frame(pool.dropped, ["source", "reason"]))
    found = campaign.frame(pool.kept, ["risk", "risky"])
    return step.result(
        pool,
        metrics={
            "num_clean": pool.kept.num_rows,
            "num_dropped": pool.dropped.num_rows,
            "num_risky": int(found["risky"].sum()),
            **risk_counts(found),
        },
        facts={"dropped_by_reason": reasons},
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
    step: Step, shards: Shards, raw_pool: SelectionRef, *, prompts: DatasetRef
) -> MapResult:
    """What speaks against each pair alone; other benchmarks repeat the second half only."""
    structured = map_shards(
        screen_structure,
        raw_pool.kept,
        uri=step.campaign.uri("data", step.name, "structure"),
        version=step.version,
        params={},
        executor=shards.executor(),
    )
    words = step.campaign.profile.pool.ngram_words
    screened = map_shards(
        partial(screen_shard, prompts_ref=prompts),
        raw_pool.kept,
        beside=[structured.ref],
        uri=step.campaign.uri("data", step.name, "screened"),
        version=step.version,
        params={"prompts": prompts.fingerprint, "ngram_words": words},
        executor=shards.executor(),
    )
    step.note(shard_counts(screened, "shards"))
    return screened


def _clean_by_shard(
    campaign: Campaign,
    screened: DatasetRef,
    personal_data: DatasetRef | None,
    *,
    reviewed: DatasetRef | None,
) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """Kept pairs, those of one raw shard together, and dropped ones."""
    found: dict[bytes, str] = {}
    if personal_data is not None:
        level = campaign.profile.pool.pii.drop_level
        found = pairs_to_drop(campaign.frame(personal_data), level=level)
    cleared = cleared_pairs(campaign.frame(reviewed)) if reviewed else set()
    kept, dropped = select_clean(with_cleared(campaign.table(screened), cleared), found)
    ends = np.cumsum([shard.num_rows for shard in read_manifest(screened).shards])
    edges = [0, *np.searchsorted(kept.index, ends)]
    parts = [kept.iloc[start:end] for start, end in pairwise(edges)]
    return [part.reset_index(drop=True) for part in parts], dropped.reset_index(drop=True)
