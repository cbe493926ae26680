"""Box 5, the decision: each clean pair is kept, flipped or discarded, and why (Sec. 3.3)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.assets.by_source import Decided, decided_by_source, shown_by_source
from synpref_dagster.assets.step import (
    Step,
    box,
    campaign_step,
    conservation,
    conservation_spec,
    shard_counts,
)
from synpref_dagster.curation.evidence.warnings import refusal_to_filter
from synpref_dagster.curation.filtering.content_labels import labelled_contents, labelled_table
from synpref_dagster.curation.filtering.decision import DECISIONS
from synpref_dagster.curation.filtering.flip_guard import (
    FlipGuard,
    GuardConfig,
    estimate_flip_guard,
)
from synpref_dagster.curation.filtering.score_columns import flipped_pairs
from synpref_dagster.curation.filtering.shards import decide_shard
from synpref_dagster.curation.filtering.witnesses import witnesses_from_frame
from synpref_dagster.curation.verification.gold_silver import undecidable_content
from synpref_dagster.publishing.plots import stacked_shares
from synpref_dagster.resources.campaign import SETTINGS, Campaign, told_as
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, MapResult, SelectionRef, iter_tables, map_shards

GROUP = "5_filtering"
CLEAN_POOL = "clean_pool"  # fact of the subset: the pool that it decides


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, code_version="2"),
    check_specs=conservation_spec("consistency_filtered_subset"),
)
def consistency_filtered_subset(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    attribute_labels: DatasetRef,
    pool_rewards: DatasetRef,
    relabelled_pairs: dict[str, DatasetRef],
    flip_evidence: DatasetRef,
    gold: SelectionRef,
    silver: SelectionRef,
) -> dg.MaterializeResult:
    """The curated set: pairs whose source label the gold RM and a second witness confirm.

    Kept: the curated pairs. Dropped: flipped and discarded ones. Every row has its reason and
    what each witness said about it. Decided shard by shard, in bounded memory.
    """
    with campaign_step(context, campaign, tracking, {"rewards": pool_rewards}) as step:
        _refuse_weak_models(campaign, flip_evidence)
        labels = _labels(step, gold, silver, relabelled=relabelled_pairs)
        decided = _decide(
            step,
            executors,
            clean_pool,
            beside=[pool_rewards, attribute_labels],
            guard=flip_guard(campaign, flip_evidence),
            labels=labels,
        )
        step.note(shard_counts(decided, "shards"))
        subset = SelectionRef(kept=decided.outputs["kept"], dropped=decided.outputs["dropped"])
        counts = campaign.frame(decided.outputs["counts"])
        by_decision = counts.groupby("decision")["num_pairs"].sum()
        totals = {name: int(by_decision.get(name, 0)) for name in DECISIONS}
        about = Decided(
            subset=subset,
            clean=clean_pool,
            attributes=attribute_labels,
            witnesses=flip_evidence,
            gold=gold,
        )
        return step.result(
            subset,
            metrics={f"num_{name}": totals[name] for name in DECISIONS},
            facts={
                "by_reason": _reason_totals(counts),
                SETTINGS: campaign.settings_fingerprint(),
                told_as(SETTINGS): campaign.settings_told(),
                **shown_by_source(campaign, decided_by_source(step, executors, about)),
            },
            plot=stacked_shares(_shares_by_source(counts), title="Decisions by source"),
            checks=[_all_decided(clean_pool, subset)],
        )


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, code_version="2"),
    check_specs=[
        dg.AssetCheckSpec(
            "flip_precision_gate",
            asset="recycled_pairs",
            blocking=True,
            description="Machine flips exist only where their precision on gold passed the floor.",
        )
    ],
)
def recycled_pairs(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    tracking: MlflowTracking,
    consistency_filtered_subset: SelectionRef,
    flip_evidence: DatasetRef,
) -> dg.MaterializeResult:
    """Flipped pairs, with the precision of such flips estimated on gold (Sec. 3.3, recycling)."""
    with campaign_step(
        context, campaign, tracking, {"subset": consistency_filtered_subset}
    ) as step:
        recycled = map_shards(
            flipped_pairs,
            consistency_filtered_subset.dropped,
            uri=campaign.uri("data", step.name),
            version=step.version,
            executor=executors.get(),
        ).ref
        guard = flip_guard(campaign, flip_evidence)
        reasons: Counter[str] = Counter()
        for table in iter_tables(recycled, ["reason"]):
            reasons.update(table["reason"].to_pylist())
        by_machine = reasons["all_disagree"]
        return step.result(
            recycled,
            metrics={
                "num_recycled": recycled.num_rows,
                "num_flipped_by_people": reasons["human_disagrees"],
                "estimated_precision": guard.precision.value,
                "estimated_precision_low": guard.precision.low,
                "num_evidence": guard.precision.n,
            },
            checks=[
                dg.AssetCheckResult(
                    check_name="flip_precision_gate",
                    passed=bool(by_machine == 0 or guard.precision.low >= guard.floor),
                    metadata={"num_machine_flips": by_machine, "floor": guard.floor},
                )
            ],
        )


def _decide(
    step: Step,
    executors: Executors,
    clean_pool: SelectionRef,
    *,
    beside: Sequence[DatasetRef],
    guard: FlipGuard,
    labels: Mapping[str, DatasetRef],
) -> MapResult:
    campaign = step.campaign
    recycle = campaign.profile.filtering.recycle
    return map_shards(
        partial(decide_shard, labels=labels),
        clean_pool.kept,
        beside=beside,
        uri=campaign.uri("data", step.name),
        version=step.version,
        params={"guard": {"max_confidence": guard.max_confidence, "recycle": recycle}},
        identified_by={"labels": {name: ref.fingerprint for name, ref in labels.items()}},
        meta={
            "texts": campaign.facts(clean_pool.kept)["texts"],
            CLEAN_POOL: campaign.as_fact(clean_pool),
        },
        executor=executors.get(),
        outputs=["kept", "dropped", "counts"],
    )


def decided_pool(campaign: Campaign, subset: SelectionRef) -> SelectionRef:
    """The clean pool whose pairs a subset decides; each has a row there, with all that is known."""
    return campaign.selection_named_in(subset.kept, CLEAN_POOL)


def all_decisions(campaign: Campaign, subset: SelectionRef) -> pd.DataFrame:
    """Every clean pair with its decision and reason."""
    parts = [campaign.frame(subset.kept), campaign.frame(subset.dropped)]
    return pd.concat(parts, ignore_index=True)


def flip_guard(campaign: Campaign, flip_evidence: DatasetRef) -> FlipGuard:
    """The guard that the evidence on gold supports, under the profile's floor."""
    config = GuardConfig(floor=campaign.profile.filtering.guard_floor)
    return estimate_flip_guard(witnesses_from_frame(campaign.frame(flip_evidence)), config=config)


def _all_decided(clean_pool: SelectionRef, subset: SelectionRef) -> dg.AssetCheckResult:
    others = {"flipped_or_discarded": subset.dropped.num_rows}
    return conservation(clean_pool.kept.num_rows, {"kept": subset.kept.num_rows, **others})


def _labels(
    step: Step, gold: SelectionRef, silver: SelectionRef, *, relabelled: dict[str, DatasetRef]
) -> dict[str, DatasetRef]:
    """What judges and people said of contents."""
    campaign = step.campaign
    return step.parts(
        lambda: {
            "judged": _judged(campaign, silver, relabelled),
            "people": _people(campaign, gold),
        },
        ["judged", "people"],
        inputs=[gold, silver, relabelled],
        folder="labels",
    )


def _refuse_weak_models(campaign: Campaign, flip_evidence: DatasetRef) -> None:
    """Stops where a model that filters is no better than chance, unless the profile allows it."""
    why = refusal_to_filter(campaign.frame(flip_evidence))
    if why and not campaign.profile.filtering.allow_weak_models:
        raise dg.Failure(why, allow_retries=False)


def _judged(
    campaign: Campaign, silver: SelectionRef, relabelled: dict[str, DatasetRef]
) -> Iterator[pa.Table]:
    """Every label that judges gave, in stage 1 (silver) or, shard by shard, in stage 2."""
    yield labelled_table(campaign.frame(silver.kept, ["pair_id", "content_id", "label"]))
    for labels, targets in zip(
        iter_tables(relabelled["labels"], ["pair_id", "label"]),
        iter_tables(relabelled["targets"], ["pair_id", "content_id", "gold"]),
        strict=True,
    ):
        yield labelled_contents(labels, targets)


def _people(campaign: Campaign, gold: SelectionRef) -> pa.Table:
    """Every label that people gave; 0 where they could not decide."""
    given = campaign.frame(gold.kept, ["pair_id", "content_id", "label"])
    undecided = sorted(undecidable_content(campaign.frame(gold.dropped)))
    without = pd.DataFrame(
        {"pair_id": undecided, "content_id": undecided, "label": np.int8(0)}, dtype=object
    )
    return labelled_table(pd.concat([given, without], ignore_index=True))


def _reason_totals(counts: pd.DataFrame) -> dict[str, int]:
    totals = counts.groupby(["decision", "reason"])["num_pairs"].sum()
    return {f"{decision}: {reason}": int(number) for (decision, reason), number in totals.items()}


def _shares_by_source(counts: pd.DataFrame) -> dict[str, dict[str, float]]:
    totals: Any = counts.pivot_table(
        index="source", columns="decision", values="num_pairs", aggfunc="sum", fill_value=0
    )
    shares = totals.div(totals.sum(axis=1), axis=0).reindex(columns=list(DECISIONS), fill_value=0.0)
    return {
        str(source): {name: float(np.round(row[name], 4)) for name in DECISIONS}
        for source, row in shares.iterrows()
    }
