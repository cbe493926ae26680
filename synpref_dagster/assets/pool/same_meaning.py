"""Box 1, a report: pairs that say nearly the same in other words."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import dagster as dg
import pyarrow as pa

from synpref_dagster.assets.asking import judges_asked
from synpref_dagster.assets.step import Step, box, campaign_step, markdown_table, shard_counts
from synpref_dagster.assets.views import vectors_of
from synpref_dagster.curation.pool.near_duplicates import confirm_links
from synpref_dagster.curation.retrieval.alike import (
    SHOWN,
    SIDES,
    alike_rows,
    counted_by_sources,
    meaning_links,
    most_alike,
)
from synpref_dagster.curation.retrieval.shards import meaning_shard
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.embedding import EmbeddingSettings
from synpref_dagster.storage import DatasetRef, SelectionRef, find_rows, lowest_ids, map_shards

GROUP = "2_attributes"  # where the vectors are that it rests on
MAX_COMPARED = 100_000
"""Pairs that are compared with each other; ids are hashes, so the lowest are a fair draw."""
CHARACTERS_SHOWN = 90


def build_meaning_report(settings: EmbeddingSettings) -> list[dg.AssetsDefinition]:
    """The report where vectors know what a text means and a threshold is set; else nothing."""
    if not settings.min_cosine:
        return []
    return [dg.asset(**box(GROUP, kinds={"python", "parquet"}))(semantic_duplicates)]


def semantic_duplicates(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    embedding: PairEmbedding,
    executors: Executors,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
    pair_embeddings: DatasetRef,
) -> dg.MaterializeResult:
    """Clean pairs whose prompt and responses mean nearly the same, though their words differ.

    What words alone would find (`near_duplicates`) is counted and left out. Nothing is dropped.
    """
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        folder = campaign.facts(pair_embeddings)["embedder"]
        with judges_asked():
            meanings = map_shards(
                partial(meaning_shard, embed=embedding.for_shards(folder, meaning=True)),
                step.ids(clean_pool.kept),
                beside=[campaign.texts(clean_pool.kept)],
                uri=campaign.uri("data", step.name, "meanings"),
                version=step.version,
                identified_by={"embedder": Path(folder).name},
                executor=None if embedding.is_asked else executors.get(holds_model=True),
            )
        step.note(shard_counts(meanings, "shards"))
        step.note(embedding.spending())
        lexical_from = campaign.profile.pool.near_duplicates.min_similarity
        min_cosine = embedding.settings.min_cosine
        found = step.dataset(
            partial(_linked, step, clean_pool.kept, meanings.ref, min_cosine=min_cosine),
            inputs=[clean_pool, meanings.ref],
            params={"min_cosine": min_cosine, "lexical_from": lexical_from},
        )
        links = campaign.frame(found)
        alike = links[[f"{side}_pair_id" for side in SIDES]].to_numpy().ravel()
        return step.result(
            found,
            metrics={
                "num_compared": min(clean_pool.kept.num_rows, MAX_COMPARED),
                "num_links": len(links),
                "num_in_links": len(set(alike)),
            },
            facts={
                "min_cosine": min_cosine,
                "links_by_source": markdown_table(counted_by_sources(links)),
                "examples": markdown_table(most_alike(links, _said(step, clean_pool, alike))),
            },
        )


def _linked(step: Step, clean: DatasetRef, meanings: DatasetRef, *, min_cosine: float) -> pa.Table:
    campaign = step.campaign
    ids = lowest_ids(clean, MAX_COMPARED)
    vectors = vectors_of(find_rows(meanings, ids), ids)
    rows, cosines = alike_rows(vectors, min_cosine=min_cosine)
    named = [(ids[first], ids[second]) for first, second in rows]
    confirmed = confirm_links(named, partial(campaign.pairs, clean), min_similarity=0)
    lexical_from = campaign.profile.pool.near_duplicates.min_similarity
    links = meaning_links(confirmed, cosines, lexical_from=lexical_from)
    step.note({"num_alike_by_words_too": len(named) - links.num_rows})
    return links


def _said(step: Step, clean: SelectionRef, alike: Sequence[bytes]) -> list[tuple[str, str]]:
    """How the better responses of the first links begin; `alike` are both ends of each link."""
    shown = list(alike[: 2 * SHOWN])
    pairs = {each.pair_id: each for each in step.campaign.pairs(clean.kept, shown)}
    said = [" ".join(pairs[each].chosen.split())[:CHARACTERS_SHOWN] for each in shown]
    return list(zip(said[0::2], said[1::2], strict=True))
