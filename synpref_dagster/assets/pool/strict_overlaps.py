"""Between the clean pool and its split: what shares words with a benchmark stays out of stage 1."""

from dataclasses import asdict
from functools import cache, partial
from typing import Any

import dagster as dg

from synpref_dagster.assets.asking import judges_asked, spending, tell_shards
from synpref_dagster.assets.step import Step, box, campaign_step, markdown_table
from synpref_dagster.curation.contamination.rules import DecontaminationConfig
from synpref_dagster.curation.contamination.shards import contaminated_pairs, counts_by_benchmark
from synpref_dagster.curation.contamination.strict import OverlapTally, barred_pairs, with_recheck
from synpref_dagster.curation.contamination.strict_shards import (
    StrictLook,
    look_strictly,
    no_overlaps,
)
from synpref_dagster.curation.judging.prompts import CONTAMINATION
from synpref_dagster.judges.batches.service import AllSent
from synpref_dagster.judges.shards import OverlapRecheck, recheck_shard
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.pool import StrictPassSettings
from synpref_dagster.storage import DatasetRef, SelectionRef, iter_tables, map_shards

GROUP = "1_pool"
NAME = "strict_overlaps"
REVIEW = "review"  # fact of the overlaps: what judges said about them
CANDIDATES_LEFT = "candidates_left"
MOST = 0.5  # a benchmark that bars more of the candidates shares boilerplate with them
NUM_SHOWN = 10
VERSION = "2"


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, pool="judge_api"),
    check_specs=[
        dg.AssetCheckSpec(
            CANDIDATES_LEFT,
            asset=NAME,
            blocking=True,
            description="The strict pass leaves pairs for stage 1; a warning when it bars most.",
        )
    ],
)
def strict_overlaps(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    judges: JudgePanel,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    benchmark_prompts: DatasetRef,
) -> dg.MaterializeResult:
    """Words that pairs which could become gold share with a benchmark, anywhere in them (App. D.1).

    All turns and both responses of human-labelled and risky pairs are compared. A pair that is in
    here and not cleared goes to stage 2: gold allows no overlap. Off with `pool.strict_pass.enabled
    = false`; the table is empty then.
    """
    settings = campaign.profile.pool.strict_pass
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        if not settings.enabled:
            nothing = no_overlaps(clean_pool.kept, uri=campaign.uri("data", NAME))
            return _reported(step, nothing, num_candidates=0)
        look = look_strictly(
            clean_pool.kept,
            campaign.texts(clean_pool.kept),
            benchmark_prompts,
            uri=campaign.uri("data", NAME, "look"),
            config=strict_config(settings),
            executor=executors.get(),
        )
        step.note(look.counts(), counts_by_benchmark(look.of_people))
        found = _rechecked(step, judges, clean_pool.kept, look, prompts=benchmark_prompts)
        return _reported(step, found, num_candidates=look.num_candidates)


@dg.asset_check(
    asset="unverified_pool",
    additional_ins={NAME: dg.AssetIn(NAME)},
    blocking=True,
    description="No pair of stage 1, and so no gold, shares words with a benchmark in any turn or "
    "response (App. D.1), but for those that judges cleared where the profile lets them.",
)
def zero_strict_overlap(
    campaign: Campaign,
    unverified_pool: DatasetRef,
    strict_overlaps: DatasetRef,
) -> dg.AssetCheckResult:
    """Compare stage 1, from which all gold is taken, with what the strict pass barred."""
    barred = barred_from_gold(campaign, strict_overlaps)
    num_found = len(contaminated_pairs(unverified_pool, unverified_pool, [barred]))
    return dg.AssetCheckResult(
        passed=num_found == 0,
        description=f"{num_found} of {unverified_pool.num_rows:,} pairs of stage 1 share words "
        "with a benchmark",
        metadata={"num_pairs": unverified_pool.num_rows, "num_barred": barred.num_rows},
    )


def barred_from_gold(campaign: Campaign, strict: DatasetRef) -> DatasetRef:
    """The pairs that may not come into stage 1: pair_id, one shard per shard of the clean pool.

    Args:
        campaign: the campaign.
        strict: what `strict_overlaps` holds.
    """
    return map_shards(
        barred_pairs,
        strict,
        uri=campaign.uri("data", NAME, "barred"),
        version=VERSION,
    ).ref


def strict_config(settings: StrictPassSettings) -> DecontaminationConfig:
    """What the strict pass compares, as the profile says."""
    return DecontaminationConfig(
        min_words=settings.min_words, max_words=settings.max_words, scope="all_texts"
    )


def _rechecked(
    step: Step, judges: JudgePanel, clean: DatasetRef, look: StrictLook, *, prompts: DatasetRef
) -> DatasetRef:
    """The overlaps, cleared by judges where the profile lets them."""
    campaign, settings = step.campaign, step.campaign.profile.pool.strict_pass
    if not settings.judges_clear:
        return look.overlaps
    if not judges.uses_endpoints:
        raise ValueError(
            "pool.strict_pass.judges_clear asks LLM judges, but judges.kind is "
            f"{judges.settings.kind!r}: set it to 'endpoints', or judges_clear to false and "
            f"min_words from {settings.min_words} to 7 or more, so that phrases are no hits"
        )
    work = OverlapRecheck(
        judges=cache(lambda: judges.endpoint_judges(step.name)),
        prompts=prompts,
        config=strict_config(settings),
    )
    key: dict[str, Any] = {**judges.identity(CONTAMINATION), "prompts": prompts.fingerprint}
    with judges_asked():
        rechecked = map_shards(
            partial(recheck_shard, work=work),
            look.overlaps,
            beside=[campaign.texts(clean)],
            uri=campaign.uri("data", NAME, REVIEW),
            version=VERSION,
            identified_by={"key": {**key, "min_words": settings.min_words}},
            executor=AllSent(),
            on_progress=partial(tell_shards, step),
            empty_alone=True,  # No text is read where nothing was found.
        ).ref
    step.note(spending(judges, step.name))
    return map_shards(
        with_recheck,
        look.overlaps,
        beside=[rechecked],
        uri=campaign.uri("data", NAME),
        version=VERSION,
        meta={REVIEW: asdict(rechecked)},
    ).ref


def _reported(step: Step, found: DatasetRef, *, num_candidates: int) -> dg.MaterializeResult:
    settings = step.campaign.profile.pool.strict_pass
    tally = OverlapTally().add(iter_tables(found))
    words = f"{settings.min_words} to {settings.max_words} words, all turns and both responses"
    return step.result(
        found,
        metrics={
            "num_looked_at": num_candidates,
            "num_with_overlap": tally.num_pairs,
            "num_cleared_by_judges": tally.num_pairs - tally.num_barred,
            "num_barred_from_gold": tally.num_barred,
        },
        facts={
            "compared": words if settings.enabled else "nothing: pool.strict_pass.enabled is false",
            "barred_by_benchmark": dict(sorted(tally.by_benchmark.items())),
            "barred_by_field": tally.fields(),
            "most_shared": markdown_table(tally.most_shared(NUM_SHOWN)),
        },
        checks=[_candidates_left(tally, num_candidates, settings)],
    )


def _candidates_left(
    tally: OverlapTally, num_candidates: int, settings: StrictPassSettings
) -> dg.AssetCheckResult:
    num_left = num_candidates - tally.num_barred
    none_left = num_candidates > 0 and not num_left
    passed = not none_left and tally.num_barred <= MOST * num_candidates
    advice = (
        "; common phrases are hits at that length: raise pool.strict_pass.min_words "
        f"from {settings.min_words}, let LLM judges clear them, or see most_shared for boilerplate"
    )
    return dg.AssetCheckResult(
        check_name=CANDIDATES_LEFT,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if none_left else dg.AssetCheckSeverity.WARN,
        description=f"{num_left:,} of {num_candidates:,} candidates for stage 1 are left"
        + ("" if passed else advice),
        metadata={"num_left": num_left, "num_barred": tally.num_barred},
    )
