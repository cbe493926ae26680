"""Box 7, the warnings: what a campaign's figures warn of, for report, terminal and Dagster."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.by_source import BY_SOURCE, DECIDED, GOLD, find_table
from synpref_dagster.curation.evidence.claims import Claim
from synpref_dagster.curation.evidence.report import accuracies
from synpref_dagster.curation.evidence.warnings import Warned, WarningFacts, campaign_warnings
from synpref_dagster.curation.judging.quality import ALL, GOLD as PEOPLE
from synpref_dagster.pairs.accuracy import Accuracy
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.storage import SelectionRef, find_manifest, make_ref

NO_WARNINGS = "no_warnings"


def warnings_spec(asset: str) -> dg.AssetCheckSpec:
    """The check that `warnings_check` answers; it blocks nothing."""
    return dg.AssetCheckSpec(
        NO_WARNINGS,
        asset=asset,
        description="Nothing in the figures makes the rest of the report worth little.",
    )


def warnings_check(warnings: Sequence[Warned]) -> dg.AssetCheckResult:
    """Passes without warnings; what is warned of is in the description and the metadata."""
    return dg.AssetCheckResult(
        check_name=NO_WARNINGS,
        passed=not warnings,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(each.sentence for each in warnings) or "nothing to warn of",
        metadata={
            "num_warnings": len(warnings),
            **{each.code: f"{each.sentence} {each.advice}" for each in warnings},
        },
    )


def found_warnings(
    campaign: Campaign,
    subset: SelectionRef,
    *,
    by_source: Sequence[Mapping[str, Any]],
    curve: pd.DataFrame,
    decisions: pd.DataFrame,
    claims: Sequence[Claim],
    releases: Sequence[Mapping[str, Any]],
    judge_quality: pd.DataFrame,
) -> list[Warned]:
    """What the figures of a campaign warn of; nothing where an earlier version decided.

    Args:
        campaign: where the tables are.
        subset: the decided pairs.
        by_source: the rows of `told_by_source`.
        curve: the iteration curve.
        decisions: decision, reason, num_pairs.
        claims: what became of each claim.
        releases: released models with their accuracy on gold, as the report has them.
        judge_quality: what was measured of judges.
    """
    gold = find_table(campaign, DECIDED, subset, part=f"{BY_SOURCE}/{GOLD}")
    if gold is None:
        return []
    validated = curve[(curve["set"] == "gold") & (curve["slice"] == "all")]["n"]
    totals = decisions.groupby("decision")["num_pairs"].sum()
    return campaign_warnings(
        WarningFacts(
            gold=_with_places(campaign.frame(gold)),
            num_validation=int(validated.max()) if len(validated) else 0,
            released={
                str(each["model_size"]): Accuracy(**each["gold"])
                for each in releases
                if each.get("gold")
            },
            judges=_judges(judge_quality),
            by_source=by_source,
            categories=_categories(campaign),
            decisions={str(name): int(number) for name, number in totals.items()},
            claims=claims,
        )
    )


def _with_places(gold: pd.DataFrame) -> pd.DataFrame:
    """Gold with source and split, unknown where an earlier version kept it without."""
    return gold.reindex(columns=list(dict.fromkeys([*gold, "source", "split"])))


def _judges(quality: pd.DataFrame) -> dict[str, Accuracy]:
    """How often every judge, and the panel, says what people say of gold pairs."""
    whole = quality[(quality["against"] == PEOPLE) & (quality["slice"] == ALL)]
    return accuracies(whole[whole["measure"] == "agreement"], "judge")


def _categories(campaign: Campaign) -> dict[str, int]:
    """Clean pairs by task category, of those that have one, as they were decided last."""
    uri = campaign.uri("data", DECIDED, "counts")
    manifest = find_manifest(uri)
    if manifest is None:
        return {}
    counts = campaign.frame(make_ref(uri, manifest), ["task_category", "num_pairs"]).dropna()
    totals = counts.groupby("task_category")["num_pairs"].sum()
    return {str(name): int(number) for name, number in totals.items()}
