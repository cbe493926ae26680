"""Box 1, a report: pairs whose texts are nearly the same."""

import dagster as dg
import pyarrow as pa

from synpref_dagster.assets.step import Step, campaign_step, markdown_table, shard_counts
from synpref_dagster.curation.pool.near_duplicates import (
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
from synpref_dagster.pairs.record import table_to_pairs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef, map_shards, select_rows

LINKS_AT_A_TIME = 20_000
"""Candidates whose texts are in memory at one time."""


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
