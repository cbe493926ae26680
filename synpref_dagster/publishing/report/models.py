"""The sections about reward models: what labels are worth, releases, and how sure they are."""

from typing import Any

from synpref_dagster.publishing.report.releases import leaderboard_tables
from synpref_dagster.publishing.report.section import (
    CLEAN_TEST_SET,
    Report,
    Section,
    named,
    night_of,
)
from synpref_dagster.publishing.report.tables import (
    Cell,
    FigureTable,
    accuracy_cell,
    count,
    has_value,
    percent,
)

TRAINING_SETS = {
    "longer_is_better": ("No model", "always prefers the longer response"),
    "original": ("Original", "the clean pool, labels as they came"),
    "original_equal_size": ("Original, fewer", "as many pairs as were kept"),
    "filtered": ("Filtered", "kept pairs"),
    "filtered_corrected": ("Filtered and corrected", "kept and flipped pairs"),
    "gold_silver": ("Gold and silver", "stage 1 alone"),
    "final": ("Final", "curated, gold and silver"),
}


def released(report: Report) -> Section | None:
    """The released models on their benchmarks."""
    rows = report.get("leaderboard") or []
    if not rows:
        return None
    tables = leaderboard_tables(report)
    return Section(
        key="releases",
        title="Released models",
        gist=f"{rows[0]['model_size']}"
        + (f" first of {len(rows)}" if len(rows) > 1 else "")
        + ("" if tables else ", measured on gold alone"),
        intro="Benchmarks in percent, with 95% intervals and the number of items. The average is "
        "the plain mean of the seven published ones that were run; its interval takes them to be "
        "independent. On gold the checkpoint was also chosen."
        if tables
        else "No benchmark was named: releases were measured on gold alone.",
        tables=tables,
    )


def compared(report: Report) -> Section:
    """What different sets of labels are worth to the same recipe."""
    tested = report.get("test_set", CLEAN_TEST_SET)
    accuracies = report.get("rm_accuracy") or {}
    worth = {name: accuracies.get(name) for name in ("original", "filtered_corrected")}
    gist = "not measured"
    if all(has_value(each) for each in worth.values()):
        first, last = (percent(each["value"]) for each in worth.values() if each)
        gist = f"{first} on labels as they came, {last} on curated ones"
    measures = _training_sets(report)
    return Section(
        key="models",
        title="What the labels are worth to a reward model",
        gist=gist,
        night=night_of(report, "curation_variants"),
        intro=f"Accuracy on {tested}: the same recipe, trained on different sets of labels. "
        "None of these is a released model."
        if measures
        else "Not measured in this campaign.",
        measures=measures,
    )


def _training_sets(report: Report) -> list[tuple[str, str, Any]]:
    against = report.get("rm_accuracy_against_length") or {}
    names = dict(TRAINING_SETS)
    for key, found in against.items():
        if has_value(found):
            name, note = names.get(key, (key.replace("_", " "), ""))
            hard = f"{percent(found['value'])} where length misleads"
            names[key] = (name, f"{note}; {hard}" if note else hard)
    return named(report.get("rm_accuracy"), names)


def iterations(report: Report) -> Section | None:
    """Each iteration's model."""
    gold = report.get("gold_accuracy_by_iteration") or []
    tested = report.get("test_accuracy_by_iteration") or []
    if not gold:
        return None
    # Shown beside the gold figures only when there is one for each iteration.
    beside = list(tested) if len(tested) == len(gold) else [None] * len(gold)
    both = any(beside)
    rows = [
        (
            f"{number}{' (seed)' if number == 0 else ''}",
            [accuracy_cell(found), *([accuracy_cell(beside[number])] if both else [])],
        )
        for number, found in enumerate(gold)
    ]
    columns = ["gold validation", *([CLEAN_TEST_SET] if both else [])]
    return Section(
        key="iterations",
        title="Reward model by iteration",
        gist=f"{percent(gold[0]['value'])} first, {percent(gold[-1]['value'])} last, on gold",
        night=night_of(report, "iteration_curve"),
        figures=["iterations"],
        tables=[FigureTable(title="iteration", columns=columns, rows=rows)],
    )


def calibration(report: Report) -> Section | None:
    """How often reward models are right that are so sure."""
    found = report.get("calibration") or {}
    tables = [
        FigureTable(
            title=f"{name} RM is so sure",
            columns=["mean confidence", "agrees with people"],
            rows=[
                (
                    f"{row['from']:.0%} to {row['to']:.0%}",
                    [Cell(text=percent(row["confidence"])), accuracy_cell(row)],
                )
                for row in rows
            ],
        )
        for name, rows in found.items()
        if rows
    ]
    return (
        Section(
            key="calibration",
            title="How far a reward model's confidence can be trusted",
            gist=f"on {count(sum(row['n'] for row in next(iter(found.values()), [])))} gold pairs",
            figures=["calibration"],
            tables=tables,
        )
        if tables
        else None
    )
