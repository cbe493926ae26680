"""Box 7, the report: every number of the campaign in one JSON and one HTML file."""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.by_source import told_by_source
from synpref_dagster.assets.evidence.warnings import found_warnings, warnings_check, warnings_spec
from synpref_dagster.assets.filtering.decision import flip_guard
from synpref_dagster.assets.release.benchmarks import TRAINED_ON
from synpref_dagster.assets.release.lineage import made_at
from synpref_dagster.assets.release.trained_on import SUBSET
from synpref_dagster.assets.step import Result, box, campaign_step, fingerprint
from synpref_dagster.curation.evidence.claims import Claim, campaign_claims, claims_in
from synpref_dagster.curation.evidence.report import CampaignFacts, build_report
from synpref_dagster.curation.evidence.warnings import as_report
from synpref_dagster.curation.pool.screening import count_reasons
from synpref_dagster.pairs.tallies import tally
from synpref_dagster.publishing.report.figures import report_figures
from synpref_dagster.publishing.report.page import render_report
from synpref_dagster.resources.campaign import STARTED_TAG, Campaign
from synpref_dagster.resources.sources import UNREAD
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.secrets import all_redacted
from synpref_dagster.sources.shards import unread_columns
from synpref_dagster.storage import (
    DatasetRef,
    SelectionRef,
    find_manifest,
    iter_tables,
    make_ref,
    to_path,
)
from synpref_dagster.storage.sealed import sealed
from synpref_dagster.storage.uris import write_bytes

GROUP = "7_evidence"
CLAIMED_IN = ("filter_audit", "iteration_curve", "curation_variants", "judge_audit")

NOT_AUDITED = (
    "The judges were not audited: their budget was used up by labels, which come first. Raise "
    "judges.max_usd in the profile and start the campaign again; only the audit is paid for."
)


@dg.asset(
    **box(GROUP, kinds={"python", "markdown"}), check_specs=[warnings_spec("campaign_report")]
)
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
    curation_variants: dict[str, DatasetRef],
    judge_audit: dict[str, DatasetRef],
    people_audit: DatasetRef,
    leaderboard: DatasetRef,
) -> dg.MaterializeResult:
    """`report.json` and `report.html`: what came in, what was decided, what held, what did not."""
    # A night makes some figures anew, not all: each section names the night of its own.
    night_of = partial(_night_of, context.instance, campaign)
    measured: dict[str, DatasetRef] = {
        "filter_audit": filter_audit,
        "iteration_curve": iteration_curve,
        "curation_variants": curation_variants["accuracy"],
        "people_audit": people_audit,
    }
    judged = {"judge_audit": judge_audit["agreement"], "judge_quality": judge_audit["quality"]}
    told: dict[str, Result] = {"clean_pool": clean_pool, SUBSET: consistency_filtered_subset}
    told |= {"flip_evidence": flip_evidence, "judge_audit": judge_audit, **measured}
    told |= {"curation_variants": curation_variants}
    evidence = {**measured, **judged, "leaderboard": leaderboard}
    with campaign_step(context, campaign, tracking, evidence) as step:
        tables = {name: campaign.frame(ref) for name, ref in evidence.items()}
        tables["leaderboard"] = _with_nights(tables["leaderboard"], night_of)
        facts = _decided_facts(campaign, consistency_filtered_subset, tables)
        claims, warnings = facts["claims"], facts["warnings"]
        report = build_report(
            CampaignFacts(
                profile=campaign.profile.name,
                seed=campaign.seed,
                seconds=_seconds(context),
                has_test_set=campaign.profile.pool.has_test_set,
                pool=_pool_facts(campaign, raw_pool, clean_pool),
                flip_guard=_guard_facts(campaign, flip_evidence),
                nights={name: night_of(name, ref) for name, ref in told.items()},
                simulated=campaign.profile.simulated,
                next_steps=[*campaign.profile.next_steps, *_not_audited(judge_audit)],
                **{**facts, "warnings": as_report(warnings)},
                **tables,
            )
        )
        paths = _write(campaign, all_redacted(report))
        step.tracked.log_campaign_metrics(_headline(report), step=0)
        claims_ref = step.dataset(
            lambda: pd.DataFrame(report["claims"]), inputs=[json.dumps(report["claims"])]
        )
        return step.result(
            claims_ref,
            metrics={**_outcomes(claims), "num_warnings": len(warnings)},
            facts={name: dg.MetadataValue.path(path) for name, path in paths.items()},
            checks=[warnings_check(warnings)],
        )


def _not_audited(audit: dict[str, DatasetRef]) -> list[str]:
    return [] if audit["agreement"].num_rows else [NOT_AUDITED]


def _outcomes(claims: list[Claim]) -> dict[str, int]:
    """`num_claims`, `num_held`, `num_not_held`, `num_not_decided`: what claims came to."""
    return {"num_claims": len(claims)} | {
        f"num_{outcome.replace(' ', '_')}": sum(claim.outcome == outcome for claim in claims)
        for outcome in ("held", "not held", "not decided")
    }


def _decided_facts(
    campaign: Campaign, subset: SelectionRef, tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """What was decided, by source, what it proves, and what the figures warn of."""
    claims, decisions = _claims(campaign, tables), _decisions(subset)
    by_source = told_by_source(campaign, SUBSET, subset)
    warnings = found_warnings(
        campaign,
        subset,
        by_source=by_source,
        curve=tables["iteration_curve"],
        decisions=decisions,
        claims=claims,
    )
    return {
        "claims": claims,
        "decisions": decisions,
        "by_source": by_source,
        "warnings": warnings,
    }


def _claims(campaign: Campaign, tables: Mapping[str, pd.DataFrame]) -> list[Claim]:
    found = claims_in(tables[name] for name in CLAIMED_IN)
    return campaign_claims(found, thresholds=campaign.profile.evidence.thresholds)


def _night_of(instance: dg.DagsterInstance, campaign: Campaign, name: str, ref: Result) -> str:
    return made_at(instance, campaign.key(name), version=fingerprint(ref))


def _with_nights(board: pd.DataFrame, night_of: Callable[[str, str], str]) -> pd.DataFrame:
    """The leaderboard with `night`, that of the decisions on which each size was trained."""
    nights = [night_of(SUBSET, version) for version in board[TRAINED_ON]]
    return board.assign(night=nights).drop(columns=TRAINED_ON)


def _decisions(subset: SelectionRef) -> pd.DataFrame:
    kinds = ["decision", "reason"]
    shards = chain(iter_tables(subset.kept, kinds), iter_tables(subset.dropped, kinds))
    return tally(shards, kinds, count="num_pairs").sort_values(kinds)


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
        UNREAD: _unread_columns(campaign),
    }


def _unread_columns(campaign: Campaign) -> list[dict[str, Any]]:
    """Columns of the sources that nobody read, as the raw pool was read last."""
    uri = campaign.uri("data", "raw_pool", "unread")
    manifest = find_manifest(uri)
    return unread_columns(iter_tables(make_ref(uri, manifest))) if manifest else []


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


def _write(campaign: Campaign, report: dict[str, Any]) -> dict[str, str]:
    page = render_report(report, report_figures(report))
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
