"""The first screen of a report: what was asked, what came out, what to worry about, what it cost.

The page, the terminal and Dagster's page of the asset show the same lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synpref_dagster.pairs.texts import duration
from synpref_dagster.publishing.report.labels import claims_gist, outcome
from synpref_dagster.publishing.report.releases import headline, points_cell
from synpref_dagster.publishing.report.section import in_order
from synpref_dagster.publishing.report.sources import SAME_VOTES
from synpref_dagster.publishing.report.tables import (
    NOT_MEASURED,
    count,
    has_value,
    interval,
    is_number,
    percent,
)

Report = Mapping[str, Any]
EXPORT, SUBSET = "curated_dataset", "consistency_filtered_subset"
PEOPLE = {
    "recorded": "recorded votes",
    "page": "people on the review page",
    "label_studio": "people in Label Studio",
}
JUDGES = {
    "exemplar": "built-in judges on words",
    "features": "judges on a frozen backbone's features",
    "endpoints": "LLMs",
}
MODELS = {
    "stand_in": "stand-ins, tiny and made here",
    "linear": "linear, on words",
    "frozen": "heads on a frozen backbone",
    "hub": "fine-tuned backbones",
}
PEOPLE_SAID = "people"  # who an estimate is by
MAX_NAMED = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A line of the first screen."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One of the four questions with its answers."""

    key: str
    title: str
    facts: Sequence[Fact]


def first_screen(report: Report) -> list[Block]:
    """The four blocks, in order."""
    return [
        Block(key="asked", title="What was asked", facts=_asked(report)),
        Block(key="out", title="What came out", facts=_came_out(report)),
        Block(key="worry", title="What to worry about", facts=worries(report)),
        Block(key="cost", title="What it cost", facts=_cost(report)),
    ]


def as_markdown(report: Report) -> str:
    """The first screen as one table, for pages that show markdown.

    >>> as_markdown({"profile": "p", "seed": 0, "pool": {}, "decisions": {}}).splitlines()[0]
    '| What was asked | | |'
    """
    lines: list[str] = []
    for block in first_screen(report):
        lines += (
            [f"| {block.title} | | |", "|---|---|---|"]
            if not lines
            else [f"| **{block.title}** | | |"]
        )
        for fact in block.facts:
            cells = (_cell(fact.name), f"**{_cell(fact.value)}**", _cell(fact.note))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def worries(report: Report) -> list[Fact]:
    """What a reader must not miss: warnings, claims that did not hold, stand-ins."""
    found = [
        Fact(name="Warning", value=str(each["sentence"]), note=str(each.get("advice") or ""))
        for each in report.get("warnings") or []
    ]
    claims = report.get("claims") or []
    failed = [claim for claim in claims if outcome(claim) == "not_held"]
    if failed:
        said = "; ".join(str(claim["claim"]) for claim in failed)
        found.append(Fact(name="Did not hold", value=f"{len(failed)} of {len(claims)}", note=said))
    if open_ones := [claim for claim in claims if outcome(claim) == "not_decided"]:
        note = "the interval has the needed number inside: more pairs would tell"
        found.append(Fact(name="Not decided", value=count(len(open_ones)), note=note))
    if simulated := report.get("simulated") or []:
        many = f"{len(simulated)} stand-ins" if len(simulated) > 1 else "1 stand-in"
        found.append(Fact(name="Simulated", value=many, note="not the real thing, named below"))
    return found or [Fact(name="Nothing", value="no warning, and no claim that did not hold")]


def _asked(report: Report) -> list[Fact]:
    asked, made = report.get("asked") or {}, report.get("made") or {}
    pool = report["pool"]
    sources = list(asked.get("sources") or [])
    facts = [
        Fact(
            name="Campaign",
            value=f"{report['profile']}, seed {report['seed']}",
            note=", ".join(
                part
                for part in (
                    str(made.get("at") or ""),
                    f"version {made['version']}" if made.get("version") else "",
                    f"commit {made['commit']}" if made.get("commit") else "",
                )
                if part
            ),
        ),
        Fact(name="Data", value=f"{count(pool.get('read'))} rows", note=_listed(sources)),
    ]
    if asked:
        people, judges = asked["people"], asked["judges"]
        facts += [
            Fact(name="People", value=PEOPLE.get(people, people), note=_verdicts(report)),
            Fact(
                name="Judges",
                value=JUDGES.get(judges["kind"], judges["kind"]),
                note=_listed(judges["names"]),
            ),
            Fact(
                name="Reward models",
                value=MODELS.get(asked["reward_model"], asked["reward_model"]),
                note=f"{asked['num_iterations']} iteration"
                f"{'' if asked['num_iterations'] == 1 else 's'} after the seed",
            ),
        ]
    return facts


def _verdicts(report: Report) -> str:
    whole = ((report.get("people") or {}).get("all") or {}).get("all") or {}
    return f"{count(whole['num_verdicts'])} verdicts" if whole else ""


def _came_out(report: Report) -> list[Fact]:
    decisions = report["decisions"]
    told = ", ".join(f"{count(number)} {name}" for name, number in in_order(decisions).items())
    return [
        _curated(report),
        Fact(name="Decided", value=told or "nothing", note="of the clean pool"),
        _right_labels(report),
        *_released(report),
        Fact(name="Claims", value=claims_gist(report)),
    ]


def _curated(report: Report) -> Fact:
    export = report.get("export")
    if not export:
        return Fact(name="Curated pairs", value=NOT_MEASURED, note="nothing was exported")
    number = export["num_train"] + export["num_validation"]
    note = (
        f"{count(export['num_train'])} train, {count(export['num_validation'])} validate; "
        f"{count(export['num_flipped'])} under the opposite label"
    )
    nights = report.get("nights") or {}
    export_night, night = (nights.get(name) or "" for name in (EXPORT, SUBSET))
    if export_night and export_night < night:
        note = f"exported {export_night}, not tonight; {note}"
    return Fact(name="Curated pairs", value=count(number), note=note)


def _right_labels(report: Report) -> Fact:
    found = report.get("label_accuracy") or {}
    before, after = found.get("before"), found.get("after")
    if not (has_value(before) and has_value(after)):
        return _estimated_labels(report)
    value = f"{percent(before['value'])} → {percent(after['value'])}"
    gains = {claim.get("name"): claim for claim in report.get("claims") or []}
    gain = gains.get("labels_improve")
    settled = has_value(gain) and (gain["low"] > 0 or gain["high"] < 0)
    note = f"pool → curated; {interval(after)}{_rests_on(report.get('truth') or {})}"
    return Fact(
        name="Right labels",
        value=value,
        note=note if settled else f"{note}; this campaign does not settle whether they differ",
    )


def _rests_on(truth: Mapping[str, Any]) -> str:
    """Of which pairs the truth is known, and whether it is independent of the people."""
    known = truth.get("by_source") or {}
    if not known:
        return ""
    told = _counted({name: each["num_known"] for name, each in known.items()})
    if not truth["votes_play_people"]:
        return f"; truth is known of {told}"
    by_people = sum(each["num_by_people"] for each in known.values())
    return f"; truth is known of {told}: {SAME_VOTES} ({count(by_people)} pairs they decided)"


def _counted(pairs: Mapping[str, int]) -> str:
    """`419 pairs of lm, 339 of crowd`; more than a few sources are summed up."""
    if len(pairs) > MAX_NAMED:
        return f"{count(sum(pairs.values()))} pairs of {len(pairs)} sources"
    first, *others = (f"{count(number)} {{}}of {name}" for name, number in pairs.items())
    return ", ".join([first.format("pairs "), *(each.format("") for each in others)])


def _estimated_labels(report: Report) -> Fact:
    """How right the sources' own labels are where no truth is known: from what people said."""
    rows = [row for row in report.get("by_source") or [] if has_value(row.get("label_accuracy"))]
    if not rows:
        return Fact(name="Right labels", value=NOT_MEASURED, note="no truth is known")
    found = {str(row["source"]): row["label_accuracy"] for row in rows}
    shares = [each["value"] for each in found.values()]
    least, most = percent(min(shares)), percent(max(shares))
    asked = {name: each["n"] for name, each in found.items() if each["by"] == PEOPLE_SAID}
    note = "of the sources, estimated from gold"
    note += f": {_counted(asked)}" if asked else ", through the reward model"
    if len(asked) < len(report["by_source"]):
        note += f"; people were asked about {len(asked)} of {len(report['by_source'])} sources"
    return Fact(
        name="Right labels",
        value=least if len(shares) == 1 else f"{least} to {most} by source",
        note=note,
    )


def _released(report: Report) -> list[Fact]:
    """The released model's own figures, never those of a model that was trained to compare."""
    best = headline(report)
    if best is None:
        return [Fact(name="Released model", value="none yet", note="`synpref run --sizes SIZE`")]
    num = len(report.get("releases") or report.get("leaderboard") or [])
    figures = []
    if has_value(best["average"]):
        cell = points_cell(best["average"])
        told = f"on average, {cell.note}" if cell.note else "on average"
        figures.append(Fact(name="… benchmarks", value=cell.text, note=told))
    if has_value(best.get("gold")):
        figures.append(
            Fact(
                name="… on gold",
                value=percent(best["gold"]["value"]),
                note=interval(best["gold"]),
            )
        )
    note = f"first of {num} by average" if num > 1 else ""
    return [Fact(name="Released model", value=str(best["model_size"]), note=note), *figures]


def _cost(report: Report) -> list[Fact]:
    cost = report.get("cost") or {}
    last = report.get("seconds") or 0
    # A report that is made by itself knows of no start.
    facts = [Fact(name="This run", value=duration(last))] if last else []
    if not cost:
        return facts
    unmeasured = cost["num_unmeasured"]
    without = f"; {count(unmeasured)} of an earlier version not measured" if unmeasured else ""
    usd, possible = cost["usd"], cost["usd_possible"]
    return [
        *facts,
        Fact(
            name="CPU time",
            value=_hours(cost["cpu_hours"]),
            note=f"{count(cost['num_steps'])} finished steps of all runs{without}",
        ),
        Fact(name="GPU time", value=_hours(cost["gpu_hours"])),
        Fact(
            name="Judges",
            value=f"${usd:.2f}",
            note=f"and up to ${possible:.2f} that may have been charged" if possible else "",
        ),
        _human_hours(cost),
    ]


def _human_hours(cost: Mapping[str, Any]) -> Fact:
    if not is_number(cost["human_hours"]):
        note = "nobody was timed" if cost["num_verdicts"] else "nobody was asked"
        return Fact(name="Human time", value=NOT_MEASURED, note=note)
    paid = f", {cost['human_cost']:,.2f} at their rates" if is_number(cost["human_cost"]) else ""
    note = f"{count(cost['num_verdicts'])} verdicts{paid}"
    return Fact(name="Human time", value=_hours(cost["human_hours"]), note=note)


def _hours(number: float | None) -> str:
    """Hours as people say them.

    >>> _hours(0.01), _hours(2.5), _hours(None)
    ('36 s', '2 h 30 min', '–')
    """
    return duration(3600 * number) if is_number(number) else NOT_MEASURED


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join([*names[:MAX_NAMED], *([f"{more} more"] if more > 0 else [])])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
