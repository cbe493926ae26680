"""Box 6, the data: the curated pairs under their labels, ready for `datasets` and TRL."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from synpref_dagster import __version__
from synpref_dagster.assets.by_source import DECIDED, told_by_source
from synpref_dagster.assets.filtering.decision import decided_pool
from synpref_dagster.assets.step import Step, box, campaign_step, fingerprint, shard_counts
from synpref_dagster.curation.filtering.decision import FLIPPED, KEPT
from synpref_dagster.curation.release.curated_rows import stage_one_rows
from synpref_dagster.curation.release.shards import decided_shard, export_shard
from synpref_dagster.pairs.ids import first_of_each, repeated_keys
from synpref_dagster.pairs.tallies import tally
from synpref_dagster.publishing.plots import bar_plot
from synpref_dagster.publishing.release.cards import render_data_card, tier_rows
from synpref_dagster.publishing.release.data_folder import write_export
from synpref_dagster.publishing.release.terms import LOADING_DATA, check_licences, terms_files
from synpref_dagster.publishing.report.sources import table_cells
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.sources.licences import normalised
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.storage import DatasetRef, SelectionRef, iter_tables, map_shards, read_manifest

GROUP = "6_release"
ROW_KINDS = ["split", "tier", "source"]
LABELS_LICENCE = (
    "This is a selection of pairs from other data sets, with new labels. Each pair stays under the "
    "licence\nof its source; the labels are under Apache-2.0."
)


@dg.asset(**box(GROUP, kinds={"parquet", "huggingface"}, code_version="2"))
def curated_dataset(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    executors: Executors,
    tracking: MlflowTracking,
    consistency_filtered_subset: SelectionRef,
    gold: SelectionRef,
    silver: SelectionRef,
) -> dg.MaterializeResult:
    """Everything the 40M model trains on, in TRL's format, and the gold pairs that validate.

    Also written as a folder for `datasets.load_dataset`, with data card, licences, attribution and
    usage; refused where a source's licence is not among `export.allowed_licences`.
    Columns: prompt, chosen, rejected, pair_id, source, tier, flipped, split.
    """
    inputs = {"subset": consistency_filtered_subset, "gold": gold, "silver": silver}
    clean = decided_pool(campaign, consistency_filtered_subset)
    with campaign_step(context, campaign, tracking, {"clean": clean, **inputs}) as step:
        table = _curated(
            step,
            executors,
            clean=clean,
            subset=consistency_filtered_subset,
            gold=gold,
            silver=silver,
        )
        rows = tally(iter_tables(table, ROW_KINDS), ROW_KINDS, count="num_pairs")
        fingerprints = {name: fingerprint(ref) for name, ref in inputs.items()}
        by_source = source_rows(sources, rows)
        check_licences(by_source, campaign.profile.export.allowed_licences)
        told = told_by_source(campaign, DECIDED, consistency_filtered_subset)
        card = {**_card(campaign, table, rows, by_source), "measured": table_cells(told)}
        folder = _write_folder(campaign, table, card, fingerprints)
        splits = pairs_by(rows, "split")
        return step.result(
            table,
            metrics={
                "num_pairs": splits.get("train", 0),
                "num_validation": splits.get("validation", 0),
            },
            facts={"folder": dg.MetadataValue.path(str(folder))},
            plot=bar_plot(
                {row["name"]: row["num_pairs"] for row in tier_rows(trained_by_tier(rows))},
                title="Curated pairs by who set the label",
                value_label="pairs",
                percent=False,
            ),
        )


def _curated(
    step: Step,
    executors: Executors,
    *,
    clean: SelectionRef,
    subset: SelectionRef,
    gold: SelectionRef,
    silver: SelectionRef,
) -> DatasetRef:
    """The data set, one shard per clean shard."""
    campaign = step.campaign
    labels = [campaign.frame(each.kept) for each in (gold, silver)]
    now = [campaign.labels_in(clean.kept, each) for each in labels]
    step.note({"num_labels_gone": sum(map(len, labels)) - sum(map(len, now))})
    stage_one = step.dataset(
        lambda: stage_one_rows(*now), inputs=[gold, silver, clean.kept], part="stage_one"
    )
    texts = campaign.texts(clean.kept)
    exported = map_shards(
        partial(export_shard, stage_one=stage_one),
        clean.kept,
        beside=[*_decided(step, executors, subset, stage_one), texts],
        uri=campaign.uri("data", step.name),
        version=step.version,
        identified_by={"stage_one": stage_one.fingerprint},
        meta={"curation": curation_facts(campaign, subset)},
        executor=executors.get(),
    )
    step.note(shard_counts(exported, "shards"))
    _refuse_missing(campaign, stage_one, exported.ref)
    return exported.ref


def _decided(
    step: Step, executors: Executors, subset: SelectionRef, stage_one: DatasetRef
) -> list[DatasetRef]:
    """Kept and flipped pairs that nobody labelled in stage 1, each content once, shard by shard."""
    campaign = step.campaign
    found = [
        map_shards(
            partial(decided_shard, stage_one=stage_one),
            pairs,
            uri=campaign.uri("data", step.name, decision),
            version=step.version,
            params={"decision": decision},
            identified_by={"stage_one": stage_one.fingerprint},
            executor=executors.get(),
        ).ref
        for decision, pairs in ((KEPT, subset.kept), (FLIPPED, subset.dropped))
    ]
    num_shards = len(read_manifest(found[0]).shards)

    def first(part: int) -> Iterator[pa.Table]:
        # A pair that was kept outranks its flipped twin, wherever it stands in the pool.
        ids = chain.from_iterable(iter_tables(ref, ["content_id"]) for ref in found)
        rows = chain.from_iterable(iter_tables(ref) for ref in found)
        once = first_of_each(rows, repeated_keys(ids, "content_id"), "content_id")
        return islice(once, part * num_shards, (part + 1) * num_shards)

    return [
        step.dataset(partial(first, part), inputs=found, part=f"{decision}_once")
        for part, decision in enumerate((KEPT, FLIPPED))
    ]


def _refuse_missing(campaign: Campaign, stage_one: DatasetRef, exported: DatasetRef) -> None:
    kinds = ["split", "tier"]
    labelled = pairs_by(tally(iter_tables(stage_one, kinds), kinds, count="num_pairs"), *kinds)
    found = pairs_by(tally(iter_tables(exported, kinds), kinds, count="num_pairs"), *kinds)
    missing = sum(number - found.get(kind, 0) for kind, number in labelled.items())
    if missing:
        raise ValueError(
            f"{missing} of {stage_one.num_rows} labelled pairs are not in the export: materialize "
            "curated_dataset again"
        )


def pairs_by(rows: pd.DataFrame, *columns: str) -> dict[Any, int]:
    """Number of pairs by one column of a tally, or by several."""
    counts = rows.groupby(columns[0] if len(columns) == 1 else list(columns))["num_pairs"].sum()
    return {key: int(count) for key, count in counts.items()}


def trained_by_tier(rows: pd.DataFrame) -> dict[str, int]:
    """Training pairs by whose label they have, from a tally of split and tier."""
    return pairs_by(rows[rows["split"] == "train"], "tier")


def _write_folder(
    campaign: Campaign,
    table: DatasetRef,
    card: dict[str, Any],
    fingerprints: dict[str, str],
) -> Path:
    num_rows = {"train": card["num_train"], "validation": card["num_validation"]}
    return write_export(
        iter_tables(table),
        campaign.local_folder("releases", "curated_dataset") / table.fingerprint[:16],
        num_rows=num_rows,
        texts={
            "README.md": render_data_card(card),
            **terms_files(card["sources"], loading=LOADING_DATA, subject=LABELS_LICENCE),
        },
        manifest={
            "fingerprint": table.fingerprint,
            "seed": campaign.seed,
            "synpref_dagster": __version__,
            "inputs": fingerprints,
        },
    )


def curation_facts(campaign: Campaign, subset: SelectionRef) -> dict[str, Any]:
    """What the filter decided, as plain data for cards."""
    kinds = ["decision", "reason"]
    shards = chain(iter_tables(subset.kept, kinds), iter_tables(subset.dropped, kinds))
    counts = tally(shards, kinds, count="num_pairs").sort_values(kinds)
    return {
        "num_clean": decided_pool(campaign, subset).kept.num_rows,
        "ngram_words": campaign.profile.pool.ngram_words,
        "decisions": [
            {
                "decision": str(row["decision"]),
                "reason": str(row["reason"]),
                "num_pairs": int(row["num_pairs"]),
            }
            for row in counts.to_dict("records")
        ],
    }


def source_rows(sources: PoolSources, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Each source with its licence, place, citation and pairs per split, from a tally of them.

    Raises:
        ValueError: there are pairs of a source that the profile no longer names.
    """
    counts, known = pairs_by(rows, "source", "split"), source_terms(sources)
    gone = sorted({source for source, _ in counts} - known.keys())
    if gone:
        raise ValueError(
            f"there are pairs of {', '.join(gone)}, which pool.sources no longer names, so that "
            "nothing is known of their licence: run the job filter_pool, which takes them out of "
            "the pool, or name the source again"
        )
    return [
        {
            **about,
            "num_train": counts.get((name, "train"), 0),
            "num_validation": counts.get((name, "validation"), 0),
        }
        for name, about in known.items()
    ]


def source_terms(sources: PoolSources) -> dict[str, dict[str, Any]]:
    """What the profile says of each source: licence, place, origin, citation, by name."""
    staying = sources.campaign.profile.pool.staying()
    return {
        spec.name: {
            "name": spec.name,
            "licence": spec.licence,
            "place": _place(sources, spec),
            "origin": spec.origin,
            "hub_id": spec.hub_id,
            "revision": spec.revision,
            "citation": spec.citation,
            **({"may_leave": False} if spec.name in staying else {}),
        }
        for spec in sources.specs()
    }


def common_licence(rows: Sequence[dict[str, Any]]) -> str:
    """The licence all sources share, as the hub spells it, else `other`."""
    spelled = {normalised(str(row["licence"])) for row in rows}
    known = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "odc-by"}
    return spelled.pop() if len(spelled) == 1 and spelled <= known else "other"


def _place(sources: PoolSources, spec: SourceSpec) -> str:
    if sources.is_synthetic:
        return "generated by synpref_dagster"
    if spec.hub_id:
        return f"https://huggingface.co/datasets/{spec.hub_id} at {spec.revision}"
    # A path says where somebody keeps it, not where it is from: the file's name is enough.
    return f"local file {str(spec.path).rsplit('/', 1)[-1]}"


def _card(
    campaign: Campaign, table: DatasetRef, rows: pd.DataFrame, by_source: list[dict[str, Any]]
) -> dict[str, Any]:
    splits = pairs_by(rows, "split")
    return {
        "licence": common_licence(by_source),
        "profile": campaign.profile.name,
        "seed": campaign.seed,
        "version": __version__,
        "num_train": splits.get("train", 0),
        "num_validation": splits.get("validation", 0),
        "tiers": tier_rows(trained_by_tier(rows)),
        "sources": by_source,
        "curation": campaign.facts(table)["curation"],
        "limits": list(campaign.profile.simulated)
        or ["Labels are those of people, judges and models, and some are wrong."],
    }
