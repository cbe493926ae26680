"""Box 6, the data: the curated pairs under their labels, ready for `datasets` and TRL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from synpref_dagster import __version__
from synpref_dagster.assets.filtering import all_decisions
from synpref_dagster.assets.step import box, campaign_step, fingerprint
from synpref_dagster.curation.filtering import count_decisions
from synpref_dagster.curation.gold_silver import validation_conversations
from synpref_dagster.curation.training_sets import final_training_set
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.curated_export import export_table, with_tier, write_export
from synpref_dagster.resources.data_terms import LOADING_DATA, check_licences, terms_files
from synpref_dagster.resources.plots import bar_plot
from synpref_dagster.resources.pool_sources import PoolSources
from synpref_dagster.resources.release_cards import render_data_card, tier_rows
from synpref_dagster.resources.tracking import MlflowTracking
from synpref_dagster.sources.licences import normalised
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.storage import DatasetRef, SelectionRef

GROUP = "6_release"
WORLD_LICENCE = "apache-2.0"
LABELS_LICENCE = (
    "This is a selection of pairs from other data sets, with new labels. Each pair stays under the "
    "licence\nof its source; the labels are under Apache-2.0."
)


def build_curated_data(gold: dg.AssetKey, silver: dg.AssetKey) -> list[dg.AssetsDefinition]:
    """The curated data set, resting on the last gold and silver."""
    return [
        dg.asset(
            **box(GROUP, kinds={"parquet", "huggingface"}),
            ins={"gold": dg.AssetIn(gold), "silver": dg.AssetIn(silver)},
        )(curated_dataset)
    ]


def curated_dataset(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
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
    with campaign_step(context, campaign, tracking, {"clean": clean_pool, **inputs}) as step:
        decisions = all_decisions(campaign, consistency_filtered_subset)
        table = step.dataset(
            lambda: _labelled(campaign, clean_pool.kept, decisions, gold=gold, silver=silver),
            inputs=[clean_pool, consistency_filtered_subset, gold, silver],
            meta={"curation": curation_facts(campaign, decisions)},
        )
        rows = campaign.frame(table, ["split", "tier", "source"])
        fingerprints = {name: fingerprint(ref) for name, ref in inputs.items()}
        by_source = source_rows(sources, rows)
        check_licences(by_source, campaign.profile.export.allowed_licences)
        folder = _write_folder(campaign, table, by_source, fingerprints)
        tiers = rows.query("split == 'train'")["tier"].value_counts().to_dict()
        return step.result(
            table,
            metrics={
                "num_pairs": int((rows["split"] == "train").sum()),
                "num_validation": int((rows["split"] == "validation").sum()),
            },
            facts={"folder": dg.MetadataValue.path(str(folder))},
            plot=bar_plot(
                {row["name"]: row["num_pairs"] for row in tier_rows(tiers)},
                title="Curated pairs by who set the label",
                value_label="pairs",
                percent=False,
            ),
        )


def _labelled(
    campaign: Campaign,
    pool: DatasetRef,
    decisions: pd.DataFrame,
    *,
    gold: SelectionRef,
    silver: SelectionRef,
) -> pa.Table:
    """Training pairs with the tier of their label, then the gold pairs that validate."""
    verified, silver_labels = campaign.frame(gold.kept), campaign.frame(silver.kept)
    train = with_tier(
        final_training_set(
            decisions,
            gold=verified,
            silver=silver_labels,
            held_out=validation_conversations(verified),
            with_recycled=True,
        ),
        gold=verified,
        silver=silver_labels,
        decisions=decisions,
    )
    held_out = verified.query("split == 'validation'").assign(tier="gold")
    return pa.concat_tables(
        [
            export_table(campaign.labelled(pool, train), train, split="train"),
            export_table(campaign.labelled(pool, held_out), held_out, split="validation"),
        ]
    )


def _write_folder(
    campaign: Campaign,
    table: DatasetRef,
    by_source: list[dict[str, Any]],
    fingerprints: dict[str, str],
) -> Path:
    rows = campaign.frame(table, ["split", "tier"])
    facts = campaign.facts(table)["curation"]
    return write_export(
        campaign.table(table),
        campaign.local_folder("releases", "curated_dataset") / table.fingerprint[:16],
        texts={
            "README.md": render_data_card(_card(campaign, facts, rows, by_source)),
            **terms_files(by_source, loading=LOADING_DATA, subject=LABELS_LICENCE),
        },
        manifest={
            "fingerprint": table.fingerprint,
            "seed": campaign.seed,
            "synpref_dagster": __version__,
            "inputs": fingerprints,
        },
    )


def curation_facts(campaign: Campaign, decisions: pd.DataFrame) -> dict[str, Any]:
    """What the filter decided, as plain data for cards."""
    counts = count_decisions(decisions).to_dict("records")
    return {
        "num_clean": len(decisions),
        "ngram_words": campaign.profile.pool.ngram_words,
        "decisions": [
            {
                "decision": row["decision"],
                "reason": row["reason"],
                "num_pairs": int(row["num_pairs"]),
            }
            for row in counts
        ],
    }


def source_rows(sources: PoolSources, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Each source with its licence, place, citation and pairs per split."""
    counts = rows.groupby(["source", "split"]).size().to_dict()
    return [
        {
            "name": spec.name,
            "licence": WORLD_LICENCE if sources.is_synthetic else spec.licence,
            "place": _place(sources, spec),
            "origin": spec.origin,
            "hub_id": spec.hub_id,
            "revision": spec.revision,
            "citation": spec.citation,
            "num_train": int(counts.get((spec.name, "train"), 0)),
            "num_validation": int(counts.get((spec.name, "validation"), 0)),
        }
        for spec in sources.specs()
    ]


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
    campaign: Campaign, facts: dict[str, Any], rows: pd.DataFrame, by_source: list[dict[str, Any]]
) -> dict[str, Any]:
    train = rows.query("split == 'train'")
    return {
        "licence": common_licence(by_source),
        "profile": campaign.profile.name,
        "seed": campaign.seed,
        "version": __version__,
        "num_train": len(train),
        "num_validation": len(rows) - len(train),
        "tiers": tier_rows(train["tier"].value_counts().to_dict()),
        "sources": by_source,
        "curation": facts,
        "limits": list(campaign.profile.simulated)
        or ["Labels are those of people, judges and models, and some are wrong."],
    }
