"""The sections about judges and people, cost and origin: who did the work, and on what."""

from synpref_dagster.pairs.texts import duration
from synpref_dagster.publishing.report.judges import judge_tables
from synpref_dagster.publishing.report.people import people_tables
from synpref_dagster.publishing.report.section import CLEAN_TEST_SET, Report, Section, night_of
from synpref_dagster.publishing.report.tables import (
    Cell,
    FigureTable,
    accuracy_cell,
    count,
    has_value,
    percent,
)


def judges(report: Report) -> Section:
    """Judges by exemplars, and each of them."""
    tables = judge_tables(report.get("judge_quality"))
    choices = report.get("judge_agreement") or {}
    parts = report.get("judge_agreement_by_objectivity") or {}
    rows = [
        (name, [accuracy_cell(each), *(accuracy_cell(part.get(name)) for part in parts.values())])
        for name, each in choices.items()
    ]
    by_exemplars = FigureTable(title="exemplars shown", columns=["all pairs", *parts], rows=rows)
    retrieved = choices.get("retrieved")
    return Section(
        key="judges",
        title="How good the judges are",
        gist=f"{percent(retrieved['value'])} agreement" if has_value(retrieved) else "",
        night=night_of(report, "judge_audit"),
        intro="By the exemplars that a judge is shown, on "
        f"{report.get('test_set', CLEAN_TEST_SET)}; then every judge alone, and the panel as it "
        "decides. Length bias: how much more often the longer response is preferred than deserves "
        "it."
        if rows or tables
        else "Not measured in this campaign.",
        tables=[*([by_exemplars] if rows else []), *tables],
    )


def people(report: Report) -> Section | None:
    """How far people agree, and what their verdicts took."""
    tables = people_tables(report.get("people"))
    whole = ((report.get("people") or {}).get("all") or {}).get("all") or {}
    return (
        Section(
            key="people",
            title="How far people agree",
            gist=f"{count(whole.get('num_verdicts'))} verdicts",
            night=night_of(report, "people_audit"),
            intro="Alpha is 1 for perfect agreement and 0 for what chance gives. Drift: agreement "
            "with others in the last quarter of somebody's verdicts, less that in the first.",
            tables=tables,
        )
        if tables
        else None
    )


def cost(report: Report) -> Section | None:
    """What each step took."""
    steps = (report.get("cost") or {}).get("by_step") or {}
    if not steps:
        return None
    rows = [
        (name, [Cell(text=duration(each["seconds"])), Cell(text=duration(each["cpu_seconds"])),
                Cell(text=duration(each["gpu_seconds"]))])
        for name, each in sorted(steps.items(), key=lambda item: -item[1]["cpu_seconds"])
    ]  # fmt: skip
    columns = ["seconds", "of processors", "of graphics cards"]
    return Section(
        key="cost",
        title="What each step cost",
        gist=f"{len(rows)} steps",
        intro="All finished attempts, those of earlier runs of this campaign included.",
        tables=[FigureTable(title="step", columns=columns, rows=rows)],
    )


def data(report: Report) -> Section | None:
    """Sources with licences, and what identifies what was made."""
    sources = report.get("sources") or []
    if not sources:
        return None
    by_source = (report.get("export") or {}).get("by_source") or {}
    rows = [
        (
            row["name"],
            [
                Cell(text=row["licence"] or "not stated"),
                Cell(text=count(by_source.get(row["name"], 0))),
                Cell(text=row.get("fingerprint") or "not known"),
                Cell(text=row["place"]),
            ],
        )
        for row in sources
    ]
    columns = ["licence", "curated pairs", "fingerprint of its files", "place"]
    marks = [(name, [Cell(text=mark)]) for name, mark in (report.get("fingerprints") or {}).items()]
    return Section(
        key="data",
        title="Data, licences and fingerprints",
        gist=f"{len(rows)} source{'s' if len(rows) != 1 else ''}",
        intro=_made_by(report),
        tables=[
            FigureTable(title="source", columns=columns, rows=rows),
            FigureTable(title="what was made", columns=["fingerprint"], rows=marks),
        ],
    )


def _made_by(report: Report) -> str:
    made = report.get("made") or {}
    commit = f", commit {made['commit']}" if made.get("commit") else ""
    at = f"Made at {made['at']} " if made.get("at") else "Made "
    return f"{at}by synpref_dagster {made.get('version', 'of an earlier version')}{commit}."


def simulated(report: Report) -> Section:
    """What is not the real thing."""
    lines = report.get("simulated") or []
    return Section(
        key="simulated",
        title="What is simulated",
        gist=f"{len(lines)} stand-in{'s' if len(lines) != 1 else ''}",
        intro="These stand in for something real. Their figures say whether the pipeline works, "
        "not how good a real model would be."
        if lines
        else "",
        lines=lines,
    )


def next_steps(report: Report) -> Section:
    """What to type next."""
    return Section(key="next", title="Next steps", lines=report.get("next_steps") or [])
