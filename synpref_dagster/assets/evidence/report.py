"""Box 7, the report: every number of the campaign in one JSON and one HTML file."""

import json
import time
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.filtering.decision import all_decisions, flip_guard
from synpref_dagster.assets.step import box, campaign_step
from synpref_dagster.curation.evidence.claims import Claim, campaign_claims, claims_in
from synpref_dagster.curation.evidence.report import CampaignFacts, build_report
from synpref_dagster.curation.filtering.decision import count_decisions
from synpref_dagster.curation.pool.screening import count_reasons
from synpref_dagster.publishing.report.figures import report_figures
from synpref_dagster.publishing.report.page import render_report
from synpref_dagster.resources.campaign import STARTED_TAG, Campaign
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef, to_path
from synpref_dagster.storage.sealed import sealed
from synpref_dagster.storage.uris import write_bytes

GROUP = "7_evidence"
CLAIMED_IN = ("filter_audit", "iteration_curve", "curation_variants", "judge_audit")


@dg.asset(**box(GROUP, kinds={"python", "markdown"}))
def campaign_report(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    raw_pool: SelectionRef,
    clean_pool: SelectionRef,
    consistency_filtered_subset: SelectionRef,
    flip_evidence: DatasetRef,
    filter_audit: DatasetRef,
    iteration_curve: DatasetRef,
    curation_variants: DatasetRef,
    judge_audit: dict[str, DatasetRef],
    people_audit: DatasetRef,
    leaderboard: DatasetRef,
) -> dg.MaterializeResult:
    """`report.json` and `report.html`: what came in, what was decided, what held, what did not."""
    evidence = {
        "filter_audit": filter_audit,
        "iteration_curve": iteration_curve,
        "curation_variants": curation_variants,
        "judge_audit": judge_audit["agreement"],
        "judge_quality": judge_audit["quality"],
        "people_audit": people_audit,
        "leaderboard": leaderboard,
    }
    with campaign_step(context, campaign, tracking, evidence) as step:
        tables = {name: campaign.frame(ref) for name, ref in evidence.items()}
        claims = campaign_claims(
            claims_in(tables[name] for name in CLAIMED_IN),
            thresholds=campaign.profile.evidence.thresholds,
        )
        report = build_report(
            CampaignFacts(
                profile=campaign.profile.name,
                seed=campaign.seed,
                seconds=_seconds(context),
                has_test_set=campaign.profile.pool.has_test_set,
                pool=_pool_facts(campaign, raw_pool, clean_pool),
                decisions=count_decisions(all_decisions(campaign, consistency_filtered_subset)),
                claims=claims,
                flip_guard=_guard_facts(campaign, flip_evidence),
                simulated=campaign.profile.simulated,
                next_steps=campaign.profile.next_steps,
                **tables,
            )
        )
        page = render_report(report, report_figures(report))
        paths = _write(campaign, report, page)
        step.tracked.log_campaign_metrics(_headline(report), step=0)
        claims_ref = step.dataset(
            lambda: pd.DataFrame(report["claims"]), inputs=[json.dumps(report["claims"])]
        )
        return step.result(
            claims_ref,
            metrics={"num_claims": len(claims), **_outcomes(claims)},
            facts={name: dg.MetadataValue.path(path) for name, path in paths.items()},
        )


def _outcomes(claims: list[Claim]) -> dict[str, int]:
    """`num_held`, `num_not_held`, `num_not_decided`: how many claims came to what."""
    return {
        f"num_{outcome.replace(' ', '_')}": sum(claim.outcome == outcome for claim in claims)
        for outcome in ("held", "not held", "not decided")
    }


def _pool_facts(
    campaign: Campaign, raw_pool: SelectionRef, clean_pool: SelectionRef
) -> dict[str, Any]:
    quarantined = count_reasons(campaign.frame(raw_pool.dropped, ["reason"]))
    return {
        "read": raw_pool.kept.num_rows + raw_pool.dropped.num_rows,
        "quarantined": raw_pool.dropped.num_rows,
        "quarantined_by_reason": quarantined,
        "dropped": count_reasons(campaign.frame(clean_pool.dropped, ["reason"])),
        "clean": clean_pool.kept.num_rows,
    }


def _guard_facts(campaign: Campaign, flip_evidence: DatasetRef) -> dict[str, Any]:
    guard = flip_guard(campaign, flip_evidence)
    return {
        "max_confidence": guard.max_confidence,
        "floor": guard.floor,
        "precision_on_gold": {
            "value": guard.precision.value,
            "low": guard.precision.low,
            "high": guard.precision.high,
            "n": guard.precision.n,
        },
    }


def _seconds(context: dg.AssetExecutionContext) -> float:
    """Wall seconds since the campaign was started; 0 when materialised on its own."""
    started = context.run.tags.get(STARTED_TAG)
    return time.time() - float(started) if started else 0.0


def _headline(report: dict[str, Any]) -> dict[str, float]:
    # Without a truth nobody knows how right labels are: an unmeasured figure is not logged.
    found = {name: report["label_accuracy"][name]["value"] for name in ("before", "after")}
    return {
        f"report/{name}_label_accuracy": value for name, value in found.items() if value is not None
    }


def _write(campaign: Campaign, report: dict[str, Any], page: str) -> dict[str, str]:
    texts = {
        "report.json": json.dumps(sealed(report), indent=2, sort_keys=True) + "\n",
        "report.html": page,
    }
    paths = {}
    for name, text in texts.items():
        path = to_path(campaign.uri(name))
        write_bytes(path, text.encode())
        paths[name] = str(path)
    return paths
