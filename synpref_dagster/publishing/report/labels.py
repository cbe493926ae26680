"""The sections about claims, labels and decisions: what became of the pairs, and was it right."""

from collections.abc import Mapping, Sequence
from typing import Any

from synpref_dagster.publishing.report.section import Report, Section, in_order, named, night_of
from synpref_dagster.publishing.report.sources import ADDS_UP, source_tables
from synpref_dagster.publishing.report.tables import (
    Cell,
    FigureTable,
    accuracy_cell,
    count,
    counts_table,
    has_value,
    interval,
    percent,
)

OUTCOMES = ("not_held", "not_decided", "held", "not_measured")
"""What a claim comes to, in the order in which the page shows them."""
# key -> name and explanation, in the order of the page; other keys follow under their own name.
LABEL_SETS = {
    "before": ("Before", "clean pool, labels as they came"),
    "kept": ("Kept", "pairs whose label was kept"),
    "flipped": ("Flipped", "reversed pairs, under the new label"),
    "after": ("After", "the curated set: kept and flipped"),
    "whole_pool": ("Whole pool", "flips applied, discarded pairs as they were"),
}


def outcome(claim: Mapping[str, Any]) -> str:
    """What a claim came to; one whose number is missing was not refuted: it was not tested."""
    return "not_measured" if claim.get("value") is None else claim["verdict"].replace(" ", "_")


def claims_gist(report: Report) -> str:
    """How many claims held, in a line.

    >>> claims_gist({"claims": [{"value": 1, "verdict": "held"}, {"value": None}]})
    'The one measured claim held, 1 not measured'
    """
    came_to = [outcome(claim) for claim in report.get("claims") or []]
    held, failed, undecided, unknown = (
        came_to.count(name) for name in ("held", "not_held", "not_decided", "not_measured")
    )
    measured = held + failed + undecided
    if not measured:
        return "No claim was measured in this campaign"
    claims = "measured claim" if unknown else "claim"
    tested = f"{held} of {measured} {claims}s held"
    if held == measured:
        tested = f"All {held} {claims}s held" if held > 1 else f"The one {claims} held"
    others = {"not decided": undecided, "not measured": unknown}
    return ", ".join([tested, *(f"{number} {name}" for name, number in others.items() if number)])


def claims(report: Report) -> Section:
    """Every claim with its figure, those that did not hold first."""
    claims = sorted(report.get("claims") or [], key=lambda claim: OUTCOMES.index(outcome(claim)))
    undecided = any(outcome(claim) == "not_decided" for claim in claims)
    return Section(
        key="claims",
        title="What held, and what did not",
        gist=claims_gist(report),
        claims=claims,
        lines=["Not decided: the interval has the needed number inside, more pairs would tell."]
        if undecided
        else [],
    )


def accuracy(report: Report) -> Section:
    """How right the labels are, before and after."""
    found = report.get("label_accuracy") or {}
    measures = named(found, LABEL_SETS)
    if not any(has_value(each) for _, _, each in measures):
        measures = []
    before, after = (found.get(name) for name in ("before", "after"))
    gist = "not measured: no truth is known"
    if has_value(before) and has_value(after):
        gist = f"{percent(before['value'])} right before, {percent(after['value'])} after"
    return Section(
        key="labels",
        title="Are the labels better?",
        gist=gist,
        night=night_of(report, "filter_audit"),
        intro="Share of labels that agree with the truth, with 95% intervals; the grey line is "
        "chance."
        if measures
        else "Not measured in this campaign.",
        measures=measures,
        tables=_precision_tables(report.get("filter_precision") or {}),
        lines=_guard_lines(report),
    )


def _precision_tables(rules: Mapping[str, Any]) -> list[FigureTable]:
    rows = [
        (rule.replace("_", " "), [accuracy_cell(parts.get(name)) for name in ("kept", "flipped")])
        for rule, parts in rules.items()
    ]
    columns = ["kept, label right", "flipped, new label right"]
    title = "Decisions that no person made, by rule"
    return [FigureTable(title=title, columns=columns, rows=rows)] if rows else []


def _guard_lines(report: Report) -> list[str]:
    guard = report.get("flip_guard") or {}
    found = guard.get("precision_on_gold")
    if not has_value(found):
        return []
    night = (report.get("nights") or {}).get("flip_evidence")
    return [
        "Before any pair was flipped, flips were estimated on gold to be right in "
        f"{percent(found['value'])} ({interval(found)}); the campaign asks for at least "
        f"{percent(guard['floor'])} at the lower end."
        f"{f' Estimated in the run of {night}.' if night else ''}"
    ]


def decisions(report: Report) -> Section:
    """What became of the pairs, and for which reasons."""
    pool, decisions = report["pool"], in_order(report["decisions"])
    dropped = sum((pool.get("dropped") or {}).values())
    total = sum(decisions.values())
    return Section(
        key="decisions",
        title="What happened to the pairs",
        gist=", ".join(f"{count(number)} {name}" for name, number in decisions.items())
        if total
        else "nothing is decided",
        night=night_of(report, "consistency_filtered_subset"),
        intro=f"{count(pool.get('read'))} rows read, {count(pool.get('quarantined'))} quarantined, "
        f"{count(dropped)} dropped while cleaning, {count(pool.get('clean'))} clean. "
        "The pairs behind a number: synpref pairs --decision flipped.",
        figures=["decisions", "margins"],
        tables=[
            *_decided_tables(decisions, total),
            *counts_table("decided, by reason", report.get("decisions_by_reason")),
            *counts_table("quarantined", pool.get("quarantined_by_reason")),
            *counts_table("dropped while cleaning", pool.get("dropped")),
            *_unread_tables(pool.get("unread_columns") or []),
        ],
    )


def _decided_tables(decisions: Mapping[str, int], total: int) -> list[FigureTable]:
    rows = [
        (name, [Cell(text=count(number)), Cell(text=percent(number / total))])
        for name, number in decisions.items()
        if total
    ]
    return [FigureTable(title="decided", columns=["pairs", "share"], rows=rows)] if rows else []


def _unread_tables(unread: Sequence[Mapping[str, Any]]) -> list[FigureTable]:
    rows = [
        (row["source"], [Cell(text=row["column"]), Cell(text=count(row["num_rows"]))])
        for row in unread
    ]
    columns = ["column that nobody read", "rows in which it holds something"]
    return [FigureTable(title="source", columns=columns, rows=rows)] if rows else []


def by_source(report: Report) -> Section | None:
    """What each source brought, how right it is, and what became of it."""
    tables = source_tables(report.get("by_source"), report.get("truth"))
    return (
        Section(
            key="sources",
            title="By source",
            gist=", ".join(str(row["source"]) for row in report.get("by_source") or []),
            night=night_of(report, "consistency_filtered_subset"),
            intro="How often a source's own labels are right is known nowhere but where people "
            "looked: the share is estimated from gold, each kind of pair counted for as many as "
            "there are. Of a source about which nobody was asked it is estimated through the "
            "reward model, if that is better than chance. Judges are asked about doubtful pairs "
            f"only. {ADDS_UP}",
            tables=tables,
        )
        if tables
        else None
    )


def lengths(report: Report) -> Section | None:
    """How often the longer response is preferred, by the labels as they came and as they left."""
    sides = {"longer_before": "as they came", "longer_after": "curated"}
    rows = [
        (str(row["source"]), [accuracy_cell(row.get(name)) for name in sides])
        for row in report.get("by_source") or []
        if any(has_value(row.get(name)) for name in sides)
    ]
    if not rows:
        return None
    table = FigureTable(title="longer response preferred", columns=[*sides.values()], rows=rows)
    return Section(
        key="length",
        title="Is the longer response preferred?",
        gist=f"in {len(rows)} source{'s' if len(rows) != 1 else ''}",
        intro="Labels that follow length teach length. Half is what labels give that do not care.",
        figures=["length"],
        tables=[table],
    )
