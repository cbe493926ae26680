"""Box 7, the report: every number of the campaign in one JSON and one HTML file."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from synpref_dagster.assets.by_source import told_by_source, told_truth
from synpref_dagster.assets.costs import cost_so_far
from synpref_dagster.assets.evidence.origin import gold_of_release, models_scored, origin
from synpref_dagster.assets.evidence.warnings import found_warnings, warnings_check, warnings_spec
from synpref_dagster.assets.filtering.decision import flip_guard
from synpref_dagster.assets.release.benchmarks import TRAINED_ON, results_from_frame
from synpref_dagster.assets.release.lineage import made_at
from synpref_dagster.assets.release.trained_on import SUBSET
from synpref_dagster.assets.step import Result, Step, box, campaign_step, fingerprint
from synpref_dagster.benchmarks.leaderboard import released
from synpref_dagster.curation.evidence.claims import Claim, campaign_claims, claims_in
from synpref_dagster.curation.evidence.report import CampaignFacts, build_report
from synpref_dagster.curation.evidence.warnings import Warned, as_report
from synpref_dagster.curation.filtering.margins import margins_by
from synpref_dagster.curation.pool.screening import count_reasons
from synpref_dagster.judges.receipts import paid_so_far
from synpref_dagster.pairs.tallies import tally
from synpref_dagster.people.quality import ALL
from synpref_dagster.publishing.report.figures import report_figures
from synpref_dagster.publishing.report.first_screen import as_markdown
from synpref_dagster.publishing.report.page import render_report
from synpref_dagster.resources.campaign import STARTED_TAG, Campaign
from synpref_dagster.resources.io_managers import GATHERS
from synpref_dagster.resources.sources import UNREAD, PoolSources
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.secrets import all_redacted
from synpref_dagster.sources.held_out import truth_columns
from synpref_dagster.sources.shards import unread_columns
from synpref_dagster.storage import (
    DatasetRef,
    SelectionRef,
    find_manifest,
    iter_tables,
    make_ref,
    to_path,
)
from synpref_dagster.storage.refs import find_ref
from synpref_dagster.storage.sealed import sealed
from synpref_dagster.storage.uris import write_bytes

GROUP = "7_evidence"
RELEASES = "skywork_reward_v2"
EXPORT = "curated_dataset"
EXPORTED = ["split", "tier", "source", "flipped"]
CLAIMED_IN = ("filter_audit", "iteration_curve", "curation_variants", "judge_audit")

NOT_AUDITED = (
    "The judges were not audited: their budget was used up by labels, which come first. Raise "
    "judges.max_usd in the profile and start the campaign again; only the audit is paid for."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What the report is made of, as its assets handed it on."""

    raw_pool: SelectionRef
    clean_pool: SelectionRef
    subset: SelectionRef
    flip_evidence: DatasetRef
    filter_audit: DatasetRef
    iteration_curve: DatasetRef
    curation_variants: dict[str, DatasetRef]
    judge_audit: dict[str, DatasetRef]
    people_audit: DatasetRef
    export: DatasetRef | None
    """Of the last night whose licences allowed one: the report does not wait for tonight's."""
    scores: dict[str, Any]
    leaderboard: DatasetRef

    def evidence(self) -> dict[str, DatasetRef]:
        """The tables that are read whole, by what `CampaignFacts` calls them."""
        names = ("flip_evidence", "filter_audit", "iteration_curve", "people_audit", "leaderboard")
        return {
            **{name: getattr(self, name) for name in names},
            "curation_variants": self.curation_variants["accuracy"],
            "judge_audit": self.judge_audit["agreement"],
            "judge_quality": self.judge_audit["quality"],
        }

    def made(self) -> dict[str, Result]:
        """What was made of the sources, by what identifies it."""
        pools = {"raw_pool": self.raw_pool, "clean_pool": self.clean_pool, SUBSET: self.subset}
        return {**pools, **({"export": self.export} if self.export else {})}

    def told(self) -> dict[str, Result]:
        """The assets of whose night the report tells."""
        names = ("clean_pool", "judge_audit", "flip_evidence", "filter_audit", "iteration_curve")
        more = ("curation_variants", "people_audit")
        told = {SUBSET: self.subset, **{name: getattr(self, name) for name in (*names, *more)}}
        return {**told, **({EXPORT: self.export} if self.export else {})}


@dg.asset(
    **box(GROUP, kinds={"python", "markdown"}),
    ins={"benchmark_scores": dg.AssetIn(metadata={GATHERS: True})},
    check_specs=[warnings_spec("campaign_report")],
)
def campaign_report(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
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
    benchmark_scores: dict[str, Any],
    leaderboard: DatasetRef,
) -> dg.MaterializeResult:
    """`report.json` and `report.html`: what was asked, what came out, what to worry about."""
    given = Given(
        raw_pool=raw_pool,
        clean_pool=clean_pool,
        subset=consistency_filtered_subset,
        flip_evidence=flip_evidence,
        filter_audit=filter_audit,
        iteration_curve=iteration_curve,
        curation_variants=curation_variants,
        judge_audit=judge_audit,
        people_audit=people_audit,
        export=find_ref(to_path(campaign.uri("refs", f"{EXPORT}.json")), place=f"{EXPORT}.json"),
        scores=benchmark_scores,
        leaderboard=leaderboard,
    )
    with campaign_step(context, campaign, tracking, given.evidence()) as step:
        facts, warnings = _facts(step, sources, given)
        report = build_report(facts)
        paths = _write(campaign, all_redacted(report))
        step.tracked.log_campaign_metrics(_headline(report), step=0)
        claims_ref = step.dataset(
            lambda: pd.DataFrame(report["claims"]), inputs=[json.dumps(report["claims"])]
        )
        counts = {"num_claims": len(facts.claims), "num_warnings": len(warnings)}
        return step.result(
            claims_ref,
            first={"at_a_glance": dg.MetadataValue.md(as_markdown(report))},
            metrics={**counts, **_outcomes(facts.claims)},
            facts={name: dg.MetadataValue.path(path) for name, path in paths.items()},
            checks=[warnings_check(warnings)],
        )


def _facts(step: Step, sources: PoolSources, given: Given) -> tuple[CampaignFacts, list[Warned]]:
    """Everything that the report says, and what its figures warn of."""
    campaign = step.campaign
    # A night makes some figures anew, not all: each section names the night of its own.
    night_of = partial(_night_of, step.context.instance, campaign)
    tables = {name: campaign.frame(ref) for name, ref in given.evidence().items()}
    tables["leaderboard"] = _with_nights(tables["leaderboard"], night_of)
    claims, decided = _claims(campaign, tables), _decided(given.subset)
    by_source = told_by_source(campaign, SUBSET, given.subset)
    releases = _releases(step, given.scores, tables["leaderboard"])
    warnings = found_warnings(
        campaign,
        given.subset,
        by_source=by_source,
        curve=tables["iteration_curve"],
        decisions=decided["decisions"],
        claims=claims,
        releases=releases,
        judge_quality=tables["judge_quality"],
    )
    facts = CampaignFacts(
        profile=campaign.profile.name,
        seed=campaign.seed,
        seconds=_seconds(step.context),
        has_test_set=campaign.profile.pool.has_test_set,
        pool=_pool_facts(campaign, given.raw_pool, given.clean_pool),
        **decided,
        by_source=by_source,
        truth=told_truth(campaign, given.subset),
        warnings=as_report(warnings),
        export=_exported(given.export),
        releases=releases,
        origin=origin(campaign, sources, given.made()),
        cost=_cost(step, tables["people_audit"]),
        claims=claims,
        flip_guard=_guard_facts(campaign, given.flip_evidence),
        nights={name: night_of(name, ref) for name, ref in given.told().items()},
        simulated=campaign.profile.simulated,
        next_steps=[*campaign.profile.next_steps, *_not_audited(given.judge_audit)],
        **tables,
    )
    return facts, warnings


def _exported(export: DatasetRef | None) -> pd.DataFrame | None:
    if export is None:
        return None
    return tally(iter_tables(export, EXPORTED), EXPORTED, count="num_pairs")


def _not_audited(audit: dict[str, DatasetRef]) -> list[str]:
    return [] if audit["agreement"].num_rows else [NOT_AUDITED]


def _outcomes(claims: Sequence[Claim]) -> dict[str, int]:
    """`num_held`, `num_not_held`, `num_not_decided`: how many claims came to what."""
    return {
        f"num_{outcome.replace(' ', '_')}": sum(claim.outcome == outcome for claim in claims)
        for outcome in ("held", "not held", "not decided")
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


def _decided(subset: SelectionRef) -> dict[str, Any]:
    """The decisions counted, and how the best RM's margins lie within each."""
    kinds, margins = ["source", "decision", "reason"], ["decision", "best_margin"]

    def both(columns: list[str]) -> Iterator[pa.Table]:
        return chain(iter_tables(subset.kept, columns), iter_tables(subset.dropped, columns))

    counts = tally(both(kinds), kinds, count="num_pairs")
    return {
        "decisions": counts.sort_values(["decision", "reason", "source"]),
        "margins": margins_by(both(margins), "decision"),
    }


def _releases(
    step: Step, scores: Mapping[str, Mapping[str, DatasetRef]], board: pd.DataFrame
) -> list[dict[str, Any]]:
    """Every released model with its own figures, in the order of the leaderboard."""
    campaign, instance = step.campaign, step.context.instance
    results = {
        size: results_from_frame(campaign.frame(parts["results"])) for size, parts in scores.items()
    }
    models = models_scored(campaign, scores)
    nights = dict(zip(board["model_size"], board["night"], strict=True))
    key = campaign.key(RELEASES)
    return [
        {
            **row,
            "night": nights[row["model_size"]],
            "model": models.get(row["model_size"]),
            "gold": gold_of_release(
                instance, key, size=row["model_size"], model=models.get(row["model_size"], "")
            ),
        }
        for row in released(board, results)
    ]


def _cost(step: Step, people: pd.DataFrame) -> dict[str, Any]:
    """What the campaign cost so far: machines, judges, people; null where nobody measured it."""
    whole = people[people["scope"] == ALL].set_index("measure")["value"]
    paid, possible = paid_so_far(step.campaign.store_root)
    return {
        **cost_so_far(step.context.instance, step.campaign),
        "usd": paid,
        "usd_possible": possible,
        "human_hours": float(whole.get("hours", float("nan"))),
        "human_cost": float(whole.get("cost", float("nan"))),
        "num_verdicts": int(people["num_verdicts"][people["scope"] == ALL].max())
        if len(whole)
        else 0,
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
        UNREAD: _unread_columns(campaign),
    }


def _unread_columns(campaign: Campaign) -> list[dict[str, Any]]:
    """Columns of the sources that nobody read, as the raw pool was read last."""
    uri = campaign.uri("data", "raw_pool", "unread")
    manifest = find_manifest(uri)
    if not manifest:
        return []
    truth = truth_columns(campaign.profile.pool, campaign.seed)
    return unread_columns(iter_tables(make_ref(uri, manifest)), besides=truth)


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
