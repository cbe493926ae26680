"""Reports on the pool that change nothing by themselves: personal data and near-duplicates."""

from collections.abc import Iterator, Sequence
from functools import cache, partial

import dagster as dg
import pandas as pd
import pyarrow as pa

from synpref_dagster.assets.judged import judges_asked, spending
from synpref_dagster.assets.step import (
    Step,
    box,
    campaign_step,
    conservation,
    conservation_spec,
    shard_counts,
)
from synpref_dagster.curation.first_rows import first_of_each, repeated_words
from synpref_dagster.curation.near_duplicates import (
    BAND_COLUMNS,
    candidate_links,
    cluster_table,
    confirm_links,
    count_by_sources,
    examples,
    rows_of,
    sign_shard,
    summary,
)
from synpref_dagster.curation.pairs import id_array, table_to_pairs
from synpref_dagster.curation.personal_data_report import (
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
from synpref_dagster.curation.personal_data_sample import (
    SAMPLED_SCHEMA,
    nearest_unflagged,
    sampled_by_shard,
)
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judge_batches import AllSent
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.personal_data_judging import (
    flag_shard,
    judge_levels_shard,
    judging_params,
    level_shard,
)
from synpref_dagster.resources.plots import bar_plot
from synpref_dagster.resources.shards import Executors
from synpref_dagster.resources.tracking import MlflowTracking
from synpref_dagster.storage import (
    DatasetRef,
    SelectionRef,
    build_dataset,
    find_manifest,
    iter_tables,
    make_ref,
    map_shards,
    select_rows,
    step_key,
)

GROUP = "1_pool"
LINKS_AT_A_TIME = 20_000
"""Candidates whose texts are in memory at one time."""
LEFT_OUT_TAG = {"synpref/campaign": "left_out"}  # the job of the campaign leaves these out


def build_pool_reports(*, left_out: Sequence[str]) -> list[dg.AssetsDefinition]:
    """The reports; those in `left_out` are no part of a campaign and made by hand only."""
    tags = dict.fromkeys(left_out, LEFT_OUT_TAG)
    return [
        dg.asset(
            **box(GROUP, kinds={"python", "parquet"}, pool="judge_api"),
            check_specs=conservation_spec("pii_report"),
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
    `clean_pool` does so where `pool.pii.action` is `drop`.
    """
    with campaign_step(context, campaign, tracking, {"raw_pool": raw_pool}) as step:
        scan = map_shards(
            scan_shard,
            raw_pool.kept,
            uri=campaign.uri("data", step.name),
            version=step.version,
            params={},
            executor=executors.get(),
            outputs=["findings", "scanned"],
        )
        step.note(shard_counts(scan, "shards"))
        findings = scan.outputs["findings"]
        pairs = _scored_pairs(step, judges, raw_pool.kept, findings)
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
                "scored_by": _scored_by(judges),
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
                conservation(raw_pool.kept.num_rows, {"scanned": int(by_source["num_pairs"].sum())})
            ],
        )


def near_duplicates(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    executors: Executors,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
) -> dg.MaterializeResult:
    """Clean pairs that are nearly the same: MinHash finds candidates, their texts confirm them.

    `links` are confirmed pairs of pairs with estimated and exact Jaccard similarity, and whether
    their preferences agree; `members` the clusters that links make. Nothing is dropped.
    """
    settings = campaign.profile.pool.near_duplicates
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        texts = campaign.texts(clean_pool.kept)
        signed = map_shards(
            sign_shard,
            texts,
            uri=campaign.uri("data", step.name, "signed"),
            version=step.version,
            params={},
            executor=executors.get(),
        )
        step.note(shard_counts(signed, "shards"))
        found = step.parts(
            lambda: _linked(step, clean_pool.kept, texts, signed.ref),
            ["links", "members"],
            inputs=[clean_pool, signed.ref],
            params={"min_similarity": settings.min_similarity},
        )
        links = campaign.frame(found["links"])
        members = campaign.frame(found["members"])
        return step.result(
            found,
            metrics={
                "num_pairs": clean_pool.kept.num_rows,
                **summary(links, dict(zip(members["pair_id"], members["cluster"], strict=True))),
            },
            facts={
                "min_similarity": settings.min_similarity,
                "links_by_source": markdown_table(count_by_sources(links)),
                "examples": markdown_table(examples(links)),
            },
        )


def _linked(
    step: Step, clean: DatasetRef, texts: DatasetRef, signed: DatasetRef
) -> dict[str, pa.Table]:
    campaign = step.campaign
    ids = campaign.table(signed, ["pair_id"])
    rows = rows_of(ids, campaign.table(clean, ["pair_id"]))
    candidates = candidate_links(
        campaign.table(signed, [band])[band].to_numpy()[rows] for band in BAND_COLUMNS
    )
    step.note({"num_candidates": len(candidates)})
    named = ids["pair_id"].combine_chunks().storage
    sides = [named.take(pa.array(rows[candidates[:, side]])).to_pylist() for side in (0, 1)]
    pairs = list(zip(*sides, strict=True))
    confirmed = [
        confirm_links(
            pairs[start : start + LINKS_AT_A_TIME],
            lambda wanted: table_to_pairs(select_rows(texts, wanted)),
            min_similarity=campaign.profile.pool.near_duplicates.min_similarity,
        )
        for start in range(0, max(len(pairs), 1), LINKS_AT_A_TIME)
    ]
    links = pa.concat_tables(confirmed)
    return {"links": links, "members": cluster_table(links)}


def markdown_table(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table as people read it in the UI: a dash for what is missing, none for no rows."""
    shown = frame.round(3).astype(object).where(frame.notna(), "–")
    text = shown.to_markdown(index=False, floatfmt=".3f") if len(frame) else "none"
    return dg.MetadataValue.md(text)


def _scored_pairs(
    step: Step, judges: JudgePanel, raw: DatasetRef, findings: DatasetRef
) -> DatasetRef:
    """Flagged and judged pairs, each where it is first in the raw pool."""
    campaign = step.campaign
    flagged = map_shards(
        flag_shard,
        findings,
        uri=campaign.uri("data", step.name, "flagged"),
        version=step.version,
        params={},
    ).ref

    def once() -> Iterator[pa.Table]:
        repeated = repeated_words(iter_tables(flagged, ["pair_id"]), "pair_id")
        return first_of_each(iter_tables(flagged), repeated, "pair_id")

    distinct = step.dataset(once, inputs=[flagged], part="distinct")
    scored = partial(
        map_shards,
        dataset=distinct,
        uri=campaign.uri("data", step.name, "pairs"),
        version=step.version,
    )
    if not judges.uses_endpoints:
        return scored(level_shard, params={}).ref
    with judges_asked():
        found = scored(
            partial(judge_levels_shard, judges=cache(lambda: judges.endpoint_judges(step.name))),
            beside=[_sampled(step, raw, flagged), raw],
            params={"key": judging_params(judges)},
            executor=AllSent(),
        )
    step.note(spending(judges, step.name))
    return found.ref


def _sampled(step: Step, raw: DatasetRef, flagged: DatasetRef) -> DatasetRef:
    """The pairs without a finding that judges look at, shard by shard.

    Those of earlier nights stay, so that what only the sample found does not come back.
    """
    campaign = step.campaign
    uri = campaign.uri("data", step.name, "sampled_so_far")
    manifest = find_manifest(uri)
    before = make_ref(uri, manifest) if manifest else None
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
        before = build_dataset(uri, step=key, compute=lambda: table)
    return step.dataset(
        lambda: sampled_by_shard(iter_tables(raw, ["pair_id"]), ever),
        inputs=[raw, before],
        part="sampled",
    )


def _scored_by(judges: JudgePanel) -> str:
    if not judges.uses_endpoints:
        return "patterns only: no judge scored these pairs"
    names = ", ".join(each.name for each in judges.settings.endpoints)
    return f"patterns, and judges ({names}) for pairs with a finding and a sample of the others"
