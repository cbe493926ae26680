"""The campaign's report as one dictionary with stable keys, for people and for programs.

Every number in it was measured in this campaign. Published numbers of the paper never enter it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from synpref_dagster.curation.evidence.calibration import calibration
from synpref_dagster.curation.evidence.claims import Claim
from synpref_dagster.curation.filtering.decision import DECISIONS
from synpref_dagster.curation.filtering.witnesses import witnesses_from_frame
from synpref_dagster.pairs.accuracy import Accuracy

ACCURACY_FIELDS = ("value", "low", "high", "n")
CLEAN_TEST_SET = "the clean test set"
GOLD_VALIDATION = "gold validation (no clean test set)"


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignFacts:
    """What the report is made of, box by box."""

    profile: str
    seed: int
    seconds: float
    has_test_set: bool
    """Whether there is a clean test set; without one models and judges are held against gold."""
    pool: Mapping[str, Any]
    decisions: pd.DataFrame
    """source, decision, reason, num_pairs."""
    margins: Mapping[str, Any]
    """From `margins.margins_by` decision."""
    flip_evidence: pd.DataFrame
    """What models and people say about gold pairs."""
    export: pd.DataFrame | None
    """split, tier, source, flipped, num_pairs of the export; None while there is none."""
    releases: Sequence[Mapping[str, Any]]
    """Released models with every figure's interval, best first; see `leaderboard.released`."""
    origin: Mapping[str, Any]
    """made, asked, sources, fingerprints: what the campaign was told, and what identifies it."""
    cost: Mapping[str, Any]
    filter_audit: pd.DataFrame
    iteration_curve: pd.DataFrame
    curation_variants: pd.DataFrame
    judge_audit: pd.DataFrame
    judge_quality: pd.DataFrame
    people_audit: pd.DataFrame
    leaderboard: pd.DataFrame
    claims: Sequence[Claim]
    flip_guard: Mapping[str, Any]
    nights: Mapping[str, str]
    """Asset -> when the figures in the report that come from it were made."""
    simulated: Sequence[str]
    next_steps: Sequence[str]
    by_source: Sequence[Mapping[str, Any]] = ()
    """Rows of `sources.as_report`."""
    truth: Mapping[str, Any] = field(default_factory=dict)
    """On what `label_accuracy` rests: by_source (num_known, num_by_people), votes_play_people."""
    warnings: Sequence[Mapping[str, Any]] = ()
    """Rows of `warnings.as_report`."""


def build_report(facts: CampaignFacts) -> dict[str, Any]:
    """The report as plain data: numbers, texts, lists; not-a-number becomes null."""
    labels = accuracies(facts.filter_audit.query("measure == 'label_accuracy'"), "name")
    by_decision = facts.decisions.groupby("decision")["num_pairs"].sum()
    report = {
        "profile": facts.profile,
        "seed": facts.seed,
        "seconds": round(facts.seconds, 1),
        "test_set": evaluated_on(has_test_set=facts.has_test_set),
        "pool": dict(facts.pool),
        "decisions": {name: int(by_decision.get(name, 0)) for name in DECISIONS},
        "warnings": list(facts.warnings),
        "by_source": list(facts.by_source),
        "truth": dict(facts.truth),
        "decisions_by_reason": _by_reason(facts.decisions),
        "decisions_by_source": _decisions_by_source(facts.decisions),
        "margins_by_decision": dict(facts.margins),
        "calibration": calibration(witnesses_from_frame(facts.flip_evidence)),
        "export": None if facts.export is None else exported(facts.export),
        "label_accuracy": {
            **{name: asdict(found) for name, found in labels.items()},
            "n": labels["before"].n,
        },
        "filter_precision": precision_by_rule(facts.filter_audit),
        "gold_accuracy_by_iteration": _by_iteration(facts.iteration_curve, "gold"),
        "test_accuracy_by_iteration": _by_iteration(facts.iteration_curve, "test")
        if facts.has_test_set
        else [],
        "rm_accuracy": _variants(facts.curation_variants, "all"),
        "rm_accuracy_against_length": _variants(facts.curation_variants, "against_length"),
        "judge_agreement": _by_choice(facts.judge_audit, "all"),
        "judge_agreement_by_objectivity": {
            part: _by_choice(facts.judge_audit, part) for part in ("objective", "subjective")
        },
        "judge_quality": _judges(facts.judge_quality),
        "people": _people(facts.people_audit),
        "leaderboard": facts.leaderboard.to_dict("records"),
        "releases": [dict(each) for each in facts.releases],
        "flip_guard": dict(facts.flip_guard),
        "nights": dict(facts.nights),
        "claims": [
            {**asdict(claim), "verdict": claim.outcome, "held": claim.outcome == "held"}
            for claim in facts.claims
        ],
        "simulated": list(facts.simulated),
        "next_steps": list(facts.next_steps),
        **facts.origin,
        "cost": dict(facts.cost),
    }
    return dict(_plain(report))


def exported(rows: pd.DataFrame) -> dict[str, Any]:
    """What the export holds, counted: the one number of curated pairs that everybody is told.

    Args:
        rows: split, tier, source, flipped, num_pairs.

    Returns:
        num_train, num_validation, num_flipped; by_tier of those that train; by_source of all.
    """
    by_split = rows.groupby("split")["num_pairs"].sum()
    trained = rows[rows["split"] == "train"]
    return {
        "num_train": int(by_split.get("train", 0)),
        "num_validation": int(by_split.get("validation", 0)),
        "num_flipped": int(rows["num_pairs"][rows["flipped"].astype(bool)].sum()),
        "by_tier": _summed(trained, "tier"),
        "by_source": _summed(rows, "source"),
    }


def _summed(rows: pd.DataFrame, column: str) -> dict[str, int]:
    counts = rows.groupby(column)["num_pairs"].sum()
    return {str(name): int(number) for name, number in counts.items()}


def _by_reason(decisions: pd.DataFrame) -> dict[str, int]:
    counts = decisions.groupby(["decision", "reason"])["num_pairs"].sum()
    return {f"{decision}: {reason}": int(number) for (decision, reason), number in counts.items()}


def _decisions_by_source(decisions: pd.DataFrame) -> dict[str, dict[str, int]]:
    counts = decisions.groupby(["source", "decision"])["num_pairs"].sum()
    return {
        str(source): {name: int(counts.get((source, name), 0)) for name in DECISIONS}
        for source in sorted(decisions["source"].unique())
    }


def evaluated_on(*, has_test_set: bool) -> str:
    """What models and judges were held against, as every report and plot calls it."""
    return CLEAN_TEST_SET if has_test_set else GOLD_VALIDATION


def accuracies(frame: pd.DataFrame, name: str) -> dict[str, Accuracy]:
    """Rows of an evidence table as accuracies, by the value of a column."""
    return {
        str(row[name]): Accuracy(
            value=float(row["value"]),
            low=float(row["low"]),
            high=float(row["high"]),
            n=int(row["n"]),
        )
        for row in frame.to_dict("records")
    }


def precision_by_rule(filter_audit: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Rule -> {kept, flipped} -> accuracy, from the rows of the filter audit."""
    rows = filter_audit.query("measure == 'precision'")
    return {
        str(rule): {name: asdict(found) for name, found in accuracies(part, "name").items()}
        for rule, part in rows.groupby("rule", sort=False)
    }


def _by_iteration(curve: pd.DataFrame, which: str) -> list[dict[str, Any]]:
    rows = curve[(curve["set"] == which) & (curve["slice"] == "all")].sort_values("iteration")
    return [{field: row[field] for field in ACCURACY_FIELDS} for row in rows.to_dict("records")]


def _variants(variants: pd.DataFrame, part: str) -> dict[str, Any]:
    rows = variants[variants["slice"] == part]
    return {name: asdict(found) for name, found in accuracies(rows, "variant").items()}


def _by_choice(audit: pd.DataFrame, part: str) -> dict[str, Any]:
    rows = audit[audit["slice"] == part]
    return {name: asdict(found) for name, found in accuracies(rows, "exemplars").items()}


def _people(audit: pd.DataFrame) -> dict[str, Any]:
    """Scope (all, asset, category, annotator) -> name -> measure -> value."""
    report: dict[str, Any] = {}
    for row in audit.to_dict("records"):
        named = report.setdefault(str(row["scope"]), {})
        measures = named.setdefault(str(row["name"]), {"num_verdicts": 0})
        measures[str(row["measure"])] = float(row["value"])
        measures["num_verdicts"] = max(measures["num_verdicts"], int(row["num_verdicts"]))
    return report


def _judges(quality: pd.DataFrame) -> dict[str, Any]:
    """What was measured against (gold, truth) -> judge -> measure and slice -> figures."""
    report: dict[str, Any] = {}
    for row in quality.to_dict("records"):
        name = row["measure"] if row["slice"] == "all" else f"{row['measure']} {row['slice']}"
        judges = report.setdefault(str(row["against"]), {})
        judges.setdefault(str(row["judge"]), {})[name] = {f: row[f] for f in ACCURACY_FIELDS}
    return report


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not isfinite(value):
        return None
    return value
