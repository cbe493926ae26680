"""Box 1, a report: personal data that patterns and judges find in the pool."""

from collections.abc import Iterator, Sequence
from functools import cache, partial

import dagster as dg
import pyarrow as pa

from synpref_dagster.assets.asking import (
    MoneyMissing,
    judges_asked,
    paid_for,
    paid_spec,
    spending,
)
from synpref_dagster.assets.pool.near_duplicates import near_duplicates
from synpref_dagster.assets.step import (
    Step,
    box,
    campaign_step,
    conservation,
    conservation_spec,
    markdown_table,
    shard_counts,
)
from synpref_dagster.curation.judging.prompts import PERSONAL_DATA
from synpref_dagster.curation.personal_data.report import (
    HIGH_LEVEL,
    NOT_JUDGED,
    TALLIED,
    count_by_source,
    level_counts,
    num_pairs,
    sample_estimate,
    scan_shard,
    tally_pairs,
)
from synpref_dagster.curation.personal_data.sample import (
    SAMPLED_SCHEMA,
    nearest_unflagged,
    sampled_by_shard,
)
from synpref_dagster.curation.personal_data.shards import flag_shard, level_shard
from synpref_dagster.judges.batches.service import AllSent
from synpref_dagster.judges.shards import judge_levels_shard
from synpref_dagster.pairs.ids import first_of_each, repeated_keys
from synpref_dagster.pairs.record import id_array
from synpref_dagster.publishing.plots import bar_plot
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import (
    DatasetRef,
    SelectionRef,
    build_dataset,
    find_manifest,
    iter_tables,
    make_ref,
    map_shards,
    step_key,
)
from synpref_dagster.storage.manifest import has_all_shards

GROUP = "1_pool"
LEFT_OUT_TAG = {"synpref/campaign": "left_out"}  # the job of the campaign leaves these out


def build_pool_reports(
    *, left_out: Sequence[str], after: Sequence[dg.AssetKey] = ()
) -> list[dg.AssetsDefinition]:
    """The reports; those in `left_out` are no part of a campaign and made by hand only.

    Args:
        left_out: names of reports.
        after: labels that are paid for before judges are asked about personal data.
    """
    tags = dict.fromkeys(left_out, LEFT_OUT_TAG)
    return [
        dg.asset(
            **box(GROUP, kinds={"python", "parquet"}, pool="judge_api"),
            check_specs=[*conservation_spec("pii_report"), paid_spec("pii_report")],
            deps=after,
            tags=tags.get("pii_report"),
        )(pii_report),
        dg.asset(
            **box(GROUP, kinds={"python", "parquet"}),
            tags=tags.get("near_duplicates"),
        )(near_duplicates),
    ]


def pii_report(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    judges: JudgePanel,
    tracking: MlflowTracking,
    raw_pool: SelectionRef,
) -> dg.MaterializeResult:
    """Personal data in the raw pool (App. D.3): kind and place of each, sensitivity of each pair.

    Patterns look at every text; LLM judges, where the profile has any, at the pairs with a finding
    and at a sample of the others. The data themselves are nowhere in it. Nothing is dropped here:
    `clean_pool` does so where `pool.pii.action` is `drop`; else the report goes without judges
    when the budget does not reach for them.
    """
    with campaign_step(context, campaign, tracking, {"raw_pool": raw_pool}) as step:
        scan = map_shards(
            scan_shard,
            raw_pool.kept,
            uri=campaign.uri("data", step.name),
            version=step.version,
            executor=executors.get(),
            outputs=["findings", "scanned"],
        )
        step.note(shard_counts(scan, "shards"))
        findings = scan.outputs["findings"]
        pairs, missing = _scored_pairs(step, judges, raw_pool.kept, findings)
        tallied = tally_pairs(iter_tables(pairs, TALLIED))
        by_source = count_by_source(campaign.frame(scan.outputs["scanned"]), tallied)
        by_kind = by_source.drop(columns=["source", "num_pairs", "num_flagged"]).sum()
        return step.result(
            {"pairs": pairs, "findings": findings},
            metrics={
                "num_flagged": int(by_source["num_flagged"].sum()),
                "num_findings": findings.num_rows,
                "num_high_level": num_pairs(tallied, tallied["level"] >= HIGH_LEVEL),
                "num_judged": num_pairs(tallied, tallied["judge_level"] != NOT_JUDGED),
                **sample_estimate(tallied),
            },
            facts={
                "scored_by": _scored_by(judges, missing),
                "pairs_by_level": dict(level_counts(tallied)),
                "pairs_by_source_and_kind": markdown_table(by_source),
            },
            plot=bar_plot(
                {str(kind): int(count) for kind, count in by_kind.items()},
                title="Pairs with personal data, by kind",
                value_label="pairs",
                percent=False,
            ),
            checks=[
                conservation(
                    raw_pool.kept.num_rows, {"scanned": int(by_source["num_pairs"].sum())}
                ),
                paid_for(missing),
            ],
        )


def _scored_pairs(
    step: Step, judges: JudgePanel, raw: DatasetRef, findings: DatasetRef
) -> tuple[DatasetRef, MoneyMissing | None]:
    """Flagged and judged pairs, each where it is first in the raw pool; what money is missing."""
    campaign = step.campaign
    flagged = map_shards(
        flag_shard,
        findings,
        uri=campaign.uri("data", step.name, "flagged"),
        version=step.version,
    ).ref

    def once() -> Iterator[pa.Table]:
        repeated = repeated_keys(iter_tables(flagged, ["pair_id"]), "pair_id")
        return first_of_each(iter_tables(flagged), repeated, "pair_id")

    distinct = step.dataset(once, inputs=[flagged], part="distinct")
    scored = partial(
        map_shards,
        dataset=distinct,
        uri=campaign.uri("data", step.name, "pairs"),
        version=step.version,
    )
    if not judges.uses_endpoints:
        return scored(level_shard).ref, None
    try:
        with judges_asked():
            found = scored(
                partial(
                    judge_levels_shard, judges=cache(lambda: judges.endpoint_judges(step.name))
                ),
                beside=[_sampled(step, raw, flagged), raw],
                identified_by={"key": judges.identity(PERSONAL_DATA)},
                executor=AllSent(),
            )
    except MoneyMissing as missing:
        if campaign.profile.pool.pii.action == "drop":
            raise  # what judges say decides which pairs stay: this is no report then
        step.context.log.warning(str(missing.description))
        return scored(level_shard).ref, missing
    finally:
        step.note(spending(judges, step.name))
    return found.ref, None


def _sampled(step: Step, raw: DatasetRef, flagged: DatasetRef) -> DatasetRef:
    """The pairs without a finding that judges look at, shard by shard.

    Those of earlier nights stay, so that what only the sample found does not come back.
    """
    campaign = step.campaign
    uri = campaign.uri("data", step.name, "sampled_so_far")
    manifest = find_manifest(uri)
    is_whole = manifest is not None and has_all_shards(uri, manifest.shards)
    before = make_ref(uri, manifest) if manifest and is_whole else None
    known = set(campaign.frame(before)["pair_id"]) if before else set()
    nearest = nearest_unflagged(
        zip(iter_tables(raw, ["pair_id"]), iter_tables(flagged, ["pair_id"]), strict=True),
        num_sampled=campaign.profile.pool.pii.num_sampled,
        seed=campaign.seed,
    )
    ever = sorted(known.union(nearest))
    if before is None or len(ever) > len(known):
        table = pa.Table.from_arrays([id_array(ever)], schema=SAMPLED_SCHEMA)
        key = step_key(version=step.version, inputs=[pair_id.hex() for pair_id in ever], params={})
        if manifest and not is_whole and manifest.step != key:
            raise ValueError(
                f"{uri}: a shard that says which pairs judges looked at is lost; put it back from "
                "a copy, or delete the folder to draw the sample anew"
            )
        before = build_dataset(uri, step=key, compute=lambda: table)
    return step.dataset(
        lambda: sampled_by_shard(iter_tables(raw, ["pair_id"]), ever),
        inputs=[raw, before],
        part="sampled",
    )


def _scored_by(judges: JudgePanel, missing: MoneyMissing | None) -> str:
    if missing is not None:
        return "patterns only: the budget did not reach for judges"
    if not judges.uses_endpoints:
        return "patterns only: no judge scored these pairs"
    names = ", ".join(each.name for each in judges.settings.endpoints)
    return f"patterns, and judges ({names}) for pairs with a finding and a sample of the others"
