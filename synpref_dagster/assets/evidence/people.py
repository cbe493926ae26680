"""Box 7, the people: how far they agree, and what each of their verdicts took (Sec. 3.2)."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.step import box, campaign_step, markdown_table
from synpref_dagster.curation.verification.people import latest_verdicts
from synpref_dagster.people.agreement import AGREEMENT_COLUMNS
from synpref_dagster.people.consensus import annotator_skill
from synpref_dagster.people.quality import ALL, ANNOTATOR, CATEGORY, people_quality, wide
from synpref_dagster.publishing.plots import bar_plot
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.people import Reviewers
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef

GROUP = "7_evidence"
MAX_BARS = 20  # a crowd has hundreds of annotators; the table names them all


def build_people_audit(asking: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    """The audit, resting on every asset that asks people."""
    ins = {key.to_python_identifier(): dg.AssetIn(key) for key in asking}
    return dg.asset(**box(GROUP, kinds={"python", "parquet"}, code_version="2"), ins=ins)(
        people_audit
    )


def people_audit(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    reviewers: Reviewers,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    **asked: Any,
) -> dg.MaterializeResult:
    """Agreement of people by asset and category; quality, drift, time and cost by annotator.

    Krippendorff's alpha is 1 for perfect agreement and 0 for what chance gives.
    """
    rates = reviewers.hourly_rates()
    weighted = campaign.profile.people.consensus == "dawid_skene"
    with campaign_step(context, campaign, tracking, asked) as step:
        ledgers = {
            name.replace("__", "/"): ledger_of(campaign, answered)
            for name, answered in sorted(asked.items())
        }
        audit = step.dataset(
            lambda: people_quality(
                pd.concat([answers_of(campaign, asset, ref) for asset, ref in ledgers.items()]),
                categories(campaign, attribute_labels),
                hourly_rates=rates,
            ),
            inputs=[attribute_labels, *ledgers.values()],
            params={"hourly_rates": rates},
        )
        quality = campaign.frame(audit)
        by_annotator = wide(quality, ANNOTATOR)
        if weighted:
            said = pd.concat([campaign.frame(ref) for ref in ledgers.values()], ignore_index=True)
            by_annotator["skill"] = by_annotator["name"].map(annotator_skill(said))
        busiest = by_annotator.sort_values("num_verdicts", ascending=False).head(MAX_BARS)
        return step.result(
            audit,
            metrics=measured(quality),
            facts={
                "annotators": markdown_table(by_annotator),
                "by_category": markdown_table(wide(quality, CATEGORY)),
                "consensus": campaign.profile.people.consensus,
            },
            plot=bar_plot(
                dict(zip(busiest["name"], busiest["agreement"], strict=True)),
                title="Agreement of each annotator with the others",
                value_label="agreement",
            ),
        )


def ledger_of(campaign: Campaign, answered: SelectionRef | DatasetRef) -> DatasetRef:
    """The verdicts behind an asset that asked people: its own table, or the one gold rests on."""
    if isinstance(answered, SelectionRef):
        return DatasetRef(**campaign.facts(answered.kept)["ledger"])
    return answered


def answers_of(campaign: Campaign, asset: str, ledger: DatasetRef) -> pd.DataFrame:
    """The verdicts that count of one asset, with `AGREEMENT_COLUMNS`."""
    latest = latest_verdicts(campaign.frame(ledger))
    return latest.assign(batch_id=asset)[AGREEMENT_COLUMNS]


def categories(campaign: Campaign, attribute_labels: DatasetRef) -> dict[bytes, str]:
    """pair_id -> task category as the labeller says."""
    frame = campaign.frame(attribute_labels, ["pair_id", "task_category"])
    return dict(zip(frame["pair_id"], frame["task_category"], strict=True))


def measured(quality: pd.DataFrame) -> dict[str, float]:
    """The measures over all verdicts as metrics; what was not recorded is left out."""
    whole = quality[(quality["scope"] == ALL) & quality["value"].notna()]
    return dict(zip(whole["measure"], whole["value"].astype(float), strict=True))
