"""The table of sources, as several boxes show it: the pool's part, and all of it.

It decides nothing and enters no identity: what was decided about a pair stands without it.
"""

from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.step import Step
from synpref_dagster.curation.evidence.shards import decided_counts, pool_lengths, pool_signs
from synpref_dagster.curation.evidence.source_accuracy import (
    accuracy_by_source,
    gold_beside,
    gold_pairs,
    model_evidence,
)
from synpref_dagster.curation.evidence.source_counts import (
    CELL_COLUMNS,
    LENGTH,
    vote_majorities,
)
from synpref_dagster.curation.evidence.sources import (
    as_report,
    cells_in,
    model_agreement,
    shares,
    source_rows,
    summed,
)
from synpref_dagster.curation.filtering.content_labels import ContentLabels
from synpref_dagster.curation.pool.by_source import pool_rows
from synpref_dagster.pairs.tallies import tally
from synpref_dagster.publishing.report.sources import RIGHT, table_cells
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.storage import (
    DatasetRef,
    SelectionRef,
    find_manifest,
    find_rows,
    iter_tables,
    make_ref,
    read_table,
)

POOL, DECIDED = "clean_pool", "consistency_filtered_subset"  # assets that have a table
BY_SOURCE, GOLD = "by_source", "gold"
AUDIT, TRUTH = "filter_audit", "truth_by_source"  # what is known beside it, and the part with it
LEADING = ("source", "clean", "kept", "flipped", "discarded", RIGHT)
ABOUT = "about"  # fact of the table: the pairs that it is about
VERSION = "1"
REASONS_END = " as"  # ends the columns that say why rows went


def pool_by_source(
    step: Step,
    executors: Executors,
    raw_pool: SelectionRef,
    *,
    clean: SelectionRef,
    cleaned: DatasetRef,
) -> DatasetRef | None:
    """What each source brought to the pool; None where an earlier version read it.

    Args:
        step: that of `clean_pool`.
        executors: who counts.
        raw_pool: pairs and quarantined rows.
        clean: clean and dropped pairs.
        cleaned: `selection.TALLY_SCHEMA`.
    """
    campaign, executor = step.campaign, executors.get()
    read = _read_last(campaign, "counts")
    if read is None:
        return None
    lengths = pool_lengths(
        clean.kept,
        pool_signs(raw_pool.kept, uri=_signs_uri(campaign), executor=executor),
        uri=campaign.uri("data", step.name, "lengths"),
        executor=executor,
    )

    def rows() -> pd.DataFrame:
        kinds = ["source", "reason"]
        quarantined = tally(iter_tables(raw_pool.dropped, kinds), kinds, count="num_rows")
        return pool_rows(
            campaign.frame(read),
            quarantined=quarantined,
            cleaned=campaign.frame(cleaned),
            longer=shares(summed(campaign.frame(lengths)), LENGTH),
        )

    return step.dataset(
        rows,
        inputs=[VERSION, raw_pool, read, cleaned, lengths],
        part=BY_SOURCE,
        meta={ABOUT: clean.kept.fingerprint},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What the whole table rests on."""

    subset: SelectionRef
    """The decided pairs."""
    clean: SelectionRef
    """The clean pool that it decides."""
    attributes: DatasetRef
    """Those of stage 1."""
    witnesses: DatasetRef
    """What the best reward model says of gold pairs, none of which trained it."""
    gold: SelectionRef
    """What people said."""


def decided_by_source(step: Step, executors: Executors, decided: Decided) -> DatasetRef | None:
    """All that is known of each source; None where an earlier version made the pool.

    What is known of gold, which warnings are made of, is kept beside it.

    Args:
        step: that of `consistency_filtered_subset`.
        executors: who counts.
        decided: the decided pairs and what is known of them.
    """
    campaign, executor = step.campaign, executors.get()
    pool, votes = find_table(campaign, POOL, decided.clean), _read_last(campaign, "votes")
    if pool is None or votes is None:
        return None
    majorities = step.dataset(
        lambda: vote_majorities(iter_tables(votes, ["content_id", "verdict"])),
        inputs=[VERSION, votes],
        part=f"{BY_SOURCE}/votes",
    )
    raw = campaign.texts(decided.clean.kept)
    signs = pool_signs(raw, uri=_signs_uri(campaign), executor=executor)
    counts = decided_counts(
        decided.subset,
        attributes=decided.attributes,
        signs=signs,
        votes=majorities,
        uri=campaign.uri("data", step.name, f"{BY_SOURCE}/counts"),
        executor=executor,
    )
    about = {ABOUT: decided.subset.kept.fingerprint}
    step.dataset(
        lambda: _gold_beside(campaign, decided, signs=signs, votes=majorities),
        inputs=[VERSION, decided.clean, decided.witnesses, decided.gold, signs, majorities],
        part=f"{BY_SOURCE}/{GOLD}",
        meta=about,
    )
    return step.dataset(
        lambda: _rows(campaign, decided, pool=pool, counts=counts),
        inputs=[VERSION, pool, counts, decided.witnesses, decided.gold],
        part=BY_SOURCE,
        meta=about,
    )


def told_by_source(campaign: Campaign, asset: str, about: SelectionRef) -> list[dict[str, Any]]:
    """The rows of the table as the report has them; none where an earlier version decided."""
    found = find_table(campaign, asset, about)
    return as_report(campaign.frame(found)) if found else []


def told_truth(campaign: Campaign, about: SelectionRef) -> dict[str, Any]:
    """On what "right labels" rests: pairs whose truth is known, by source; empty where unknown.

    Returns:
        by_source: source -> num_known, num_by_people; votes_play_people: whether the recorded
        votes that are the truth also answered for people, so that one does not check the other.
    """
    found = find_table(campaign, AUDIT, about, part=TRUTH)
    rows = campaign.frame(found).to_dict("records") if found else []
    known = {str(row.pop("source")): row for row in rows if row["num_known"]}
    profile = campaign.profile
    by_votes = profile.people.backend == "recorded" or profile.people.recorded_first
    played = profile.pool.kind == "sources" and by_votes
    return {"by_source": known, "votes_play_people": played} if known else {}


def find_table(
    campaign: Campaign, asset: str, about: SelectionRef, *, part: str = BY_SOURCE
) -> DatasetRef | None:
    """The table that an asset kept beside its pairs, if it is about these."""
    uri = campaign.uri("data", asset, part)
    manifest = find_manifest(uri)
    if manifest is None or manifest.meta.get(ABOUT) != about.kept.fingerprint:
        return None
    return make_ref(uri, manifest)


def shown_by_source(campaign: Campaign, table: DatasetRef | None) -> dict[str, Any]:
    """The table as metadata for an asset's page; nothing where there is none."""
    if table is None:
        return {}
    # The whole table goes without the reasons, which stand on the pool's page: in a narrow column
    # they would make every row a page long.
    rows = [
        {name: cell for name, cell in row.items() if "kept" not in row or name[-3:] != REASONS_END}
        for row in table_cells(as_report(campaign.frame(table)))
    ]
    found = dict.fromkeys(name for row in rows for name in row)
    # A page shows the first columns, and the others to who scrolls.
    leading = [name for name in LEADING if name in found]
    columns = [*leading, *(name for name in found if name not in leading)] or ["source"]
    kinds = {
        name: "int" if all(isinstance(row[name], int) for row in rows) else "string"
        for name in columns
    }
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in kinds.items()])
    return {BY_SOURCE: dg.MetadataValue.table([dg.TableRecord(row) for row in rows], schema=schema)}


def _rows(
    campaign: Campaign, decided: Decided, *, pool: DatasetRef, counts: DatasetRef
) -> pd.DataFrame:
    found = summed(campaign.frame(counts))
    gold = _gold_pairs(campaign, decided)
    estimates = accuracy_by_source(
        gold,
        cells_in(found),
        agreement=model_agreement(found),
        evidence=model_evidence(gold, campaign.frame(decided.witnesses)),
    )
    return source_rows(campaign.frame(pool), found, estimates)


def _gold_pairs(campaign: Campaign, decided: Decided) -> pd.DataFrame:
    verified = campaign.frame(decided.gold.kept, ["pair_id", "content_id", "label", "iteration"])
    columns = ["pair_id", "content_id", "source", "risky"]
    contents = verified["content_id"]
    pairs = find_rows(decided.clean.kept, contents, "content_id", columns=columns)
    ids = [each.as_py().bytes for each in pairs.column("pair_id")]
    known = find_rows(decided.attributes, ids, columns=["pair_id", *CELL_COLUMNS])
    return gold_pairs(pairs, known, verified)


def _gold_beside(
    campaign: Campaign, decided: Decided, *, signs: DatasetRef, votes: DatasetRef
) -> pd.DataFrame:
    said = campaign.frame(decided.witnesses)
    columns = ["pair_id", "content_id", "source"]
    verified = campaign.frame(decided.gold.kept, ["content_id", "split"])
    return gold_beside(
        said,
        find_rows(decided.clean.kept, said["pair_id"], columns=columns),
        signs=find_rows(signs, said["pair_id"]),
        votes=ContentLabels.from_table(read_table(votes)),
        splits=dict(zip(verified["content_id"], verified["split"], strict=True)),
    )


def _read_last(campaign: Campaign, part: str) -> DatasetRef | None:
    """What reading the sources left beside the pairs, as they were read last."""
    uri = campaign.uri("data", "raw_pool", part)
    manifest = find_manifest(uri)
    return make_ref(uri, manifest) if manifest else None


def _signs_uri(campaign: Campaign) -> str:
    return campaign.uri("data", POOL, "signs")
