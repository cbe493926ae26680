"""The campaign report as one HTML file: the verdict first, then figures with their intervals.

The page is made from `report.json` alone, so that both always say the same. It loads nothing from
anywhere (a content security policy forbids it) and escapes every text that it shows.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from synpref_dagster.benchmarks.suite import SUITE
from synpref_dagster.curation.evidence.report import CLEAN_TEST_SET
from synpref_dagster.publishing.report.judges import judge_tables
from synpref_dagster.publishing.report.people import people_tables
from synpref_dagster.publishing.report.sources import source_tables
from synpref_dagster.publishing.report.tables import NOT_MEASURED

if TYPE_CHECKING:
    from jinja2 import Environment

Report = Mapping[str, Any]

# key -> name and explanation, in the order of the page; other keys follow under their own name.
LABEL_SETS = {
    "before": ("Before", "clean pool, labels as they came"),
    "kept": ("Kept", "pairs whose label was kept"),
    "flipped": ("Flipped", "reversed pairs, under the new label"),
    "after": ("After", "the curated set: kept and flipped"),
    "whole_pool": ("Whole pool", "flips applied, discarded pairs as they were"),
}
TRAINING_SETS = {
    "longer_is_better": ("No model", "always prefers the longer response"),
    "original": ("Original", "the clean pool, labels as they came"),
    "original_equal_size": ("Original, fewer", "as many pairs as were kept"),
    "filtered": ("Filtered", "kept pairs"),
    "filtered_corrected": ("Filtered and corrected", "kept and flipped pairs"),
    "gold_silver": ("Gold and silver", "stage 1 alone"),
    "final": ("Final", "curated, gold and silver"),
}


def render_report(report: Report, figures: Mapping[str, bytes] | None = None) -> str:
    """The report page.

    Args:
        report: the content of `report.json`. Required: profile, seed, seconds, pool, decisions.
            Parts that a campaign could not measure may be missing or None; the page says so.
        figures: title -> PNG bytes, shown in the given order.

    Returns:
        A complete HTML document without any external reference.

    Raises:
        ValueError: a required key is missing.
    """
    missing = [
        key for key in ("profile", "seed", "seconds", "pool", "decisions") if key not in report
    ]
    if missing:
        raise ValueError(f"the report has no {', '.join(missing)}")
    outcomes: dict[str, list[Any]] = {name: [] for name in OUTCOMES}
    for claim in report.get("claims") or []:
        outcomes[_outcome(claim)].append(claim)
    template = _environment().get_template("report.html.jinja")
    return template.render(
        report={**_OPTIONAL, **report, "pool": {**_OPTIONAL_POOL, **report["pool"]}},
        figures=[(title, _data_uri(png)) for title, png in (figures or {}).items()],
        headline=_headline(outcomes),
        lead=_lead(report),
        cards=_cards(report),
        labels=_named(report.get("label_accuracy"), LABEL_SETS),
        models=_models(report),
        tested=_aligned(report),
        judge_tables=judge_tables(report.get("judge_quality")),
        people_tables=people_tables(report.get("people")),
        source_tables=source_tables(report.get("by_source")),
        by_objectivity=report.get("judge_agreement_by_objectivity") or {},
        benchmarks=[(benchmark.name, benchmark.title) for benchmark in SUITE],
        scored=[row["model_size"] for row in report.get("leaderboard") or [] if _scored(row)],
        dropped_total=sum((report["pool"].get("dropped") or {}).values()),
        decided_total=sum(report["decisions"].values()),
        **outcomes,
    )


OUTCOMES = ("held", "not_held", "not_decided", "not_measured")  # what a claim comes to
_OPTIONAL_POOL: dict[str, Any] = {
    "dropped": None,
    "quarantined_by_reason": None,
    "unread_columns": [],
}
# What the template asks for and a report may lack.
_OPTIONAL: dict[str, Any] = {
    "judge_agreement": None,
    "filter_precision": None,
    "flip_guard": None,
    "decisions_by_reason": None,
    "gold_accuracy_by_iteration": [],
    "leaderboard": [],
    "test_set": CLEAN_TEST_SET,
    "nights": {},
    "warnings": [],
    "simulated": [],
    "next_steps": [],
}


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("synpref_dagster.publishing.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "percent": percent,
        "points": _points,
        "place": _place,
        "span_to": lambda low, high: _place(high - low),
        "interval": interval,
        "count": _count,
        "shown": shown,
        "outcome": _outcome,
        "duration": duration,
    }
    return environment


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal; a dash for what was not measured.

    >>> percent(0.7134), percent(None)
    ('71.3%', '–')
    """
    return f"{share:.1%}" if _is_number(share) else NOT_MEASURED


def interval(found: Mapping[str, Any]) -> str:
    """Interval and number of observations of an accuracy.

    >>> interval({"value": 0.7, "low": 0.65, "high": 0.75, "n": 1200})
    '65.0% to 75.0%, n = 1,200'
    """
    parts = []
    if _is_number(found.get("low")) and _is_number(found.get("high")):
        parts.append(f"{percent(found['low'])} to {percent(found['high'])}")
    if _is_number(found.get("n")):
        parts.append(f"n = {_count(found['n'])}")
    return ", ".join(parts)


def shown(value: Any) -> str:
    """A claim's value or threshold as people write it.

    >>> [shown(v) for v in (1200, 0.71345, "at least 0.8", True, None, {"value": 0.5})]
    ['1,200', '0.713', 'at least 0.8', 'yes', '–', '50.0%']
    """
    if isinstance(value, Mapping):
        return percent(value.get("value"))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _count(value)
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else NOT_MEASURED
    return NOT_MEASURED if value is None else str(value)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> [duration(s) for s in (7.2, 200, 7500)]
    ['7 s', '3 min 20 s', '2 h 5 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _named(found: Any, names: Mapping[str, tuple[str, str]]) -> list[tuple[str, str, Any]]:
    """(name, explanation, accuracy) of all accuracies of a group, known ones first."""
    accuracies = {key: each for key, each in (found or {}).items() if isinstance(each, Mapping)}
    order = [
        *(key for key in names if key in accuracies),
        *(k for k in accuracies if k not in names),
    ]
    return [(*names.get(key, (key.replace("_", " "), "")), accuracies[key]) for key in order]


def _models(report: Report) -> list[tuple[str, str, Any]]:
    against = report.get("rm_accuracy_against_length") or {}
    names = dict(TRAINING_SETS)
    for key, found in against.items():
        if _has_value(found):
            name, note = names.get(key, (key.replace("_", " "), ""))
            hard = f"{percent(found['value'])} where length misleads"
            names[key] = (name, f"{note}; {hard}" if note else hard)
    return _named(report.get("rm_accuracy"), names)


def _aligned(report: Report) -> list[Any]:
    # Shown beside the gold figures only when there is one for each iteration.
    tested = report.get("test_accuracy_by_iteration") or []
    gold = report.get("gold_accuracy_by_iteration") or []
    return list(tested) if len(tested) == len(gold) else []


def _headline(outcomes: Mapping[str, Sequence[Any]]) -> str:
    held, failed, undecided, unknown = (len(outcomes[name]) for name in OUTCOMES)
    measured = held + failed + undecided
    if not measured:
        return "No claim was measured in this campaign"
    claims = "measured claim" if unknown else "claim"
    tested = f"{held} of {measured} {claims}s held"
    if held == measured:
        tested = f"All {held} {claims}s held" if held > 1 else f"The one {claims} held"
    others = {"not decided": undecided, "not measured": unknown}
    return ", ".join([tested, *(f"{count} {name}" for name, count in others.items() if count)])


def _lead(report: Report) -> str:
    accuracy = report.get("label_accuracy") or {}
    before, after = accuracy.get("before"), accuracy.get("after")
    if not (_has_value(before) and _has_value(after)):
        return ""
    gain = after["value"] - before["value"]
    claims = {claim.get("name"): claim for claim in report.get("claims") or []}
    apart = _is_apart(claims.get("labels_improve"))
    verb = "rose" if gain >= 0 else "fell"
    sure = (
        ""
        if apart
        else " The interval of the difference holds zero: this campaign does not settle it."
    )
    return (
        f"Label accuracy {verb} from {percent(before['value'])} in the pool to "
        f"{percent(after['value'])} in the curated set.{sure}"
    )


def _is_apart(gain: Any) -> bool:
    """Whether the interval of a difference leaves out zero."""
    return _has_value(gain) and bool(gain["low"] > 0 or gain["high"] < 0)


def _cards(report: Report) -> list[dict[str, str]]:
    labels = report.get("label_accuracy") or {}
    models = report.get("rm_accuracy") or {}
    gold = report.get("gold_accuracy_by_iteration") or [None]
    decided = report["decisions"]
    cards = [
        _accuracy_card("Label accuracy", labels.get("after"), before=labels.get("before")),
        _accuracy_card(
            f"Reward model accuracy on {report.get('test_set', CLEAN_TEST_SET)}",
            models.get("filtered_corrected"),
            before=models.get("original"),
        ),
        _accuracy_card("Gold accuracy, last iteration", gold[-1]),
        {
            "name": "Curated pairs",
            "before": "",
            "now": _count(decided.get("kept", 0) + decided.get("flipped", 0)),
            "note": f"of {_count(report['pool'].get('clean'))} clean",
        },
    ]
    return [card for card in cards if card["now"] != NOT_MEASURED]


def _accuracy_card(name: str, now: Any, *, before: Any = None) -> dict[str, str]:
    if not _has_value(now):
        return {"name": name, "before": "", "now": NOT_MEASURED, "note": ""}
    start = percent(before["value"]) if _has_value(before) else ""
    return {"name": name, "before": start, "now": percent(now["value"]), "note": interval(now)}


def _outcome(claim: Mapping[str, Any]) -> str:
    # A claim whose number is missing was not refuted: it was not tested.
    return "not_measured" if claim.get("value") is None else claim["verdict"].replace(" ", "_")


def _scored(release: Mapping[str, Any]) -> bool:
    return _is_number(release.get("average"))


def _has_value(found: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(found, Mapping) and _is_number(found.get("value"))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _points(share: float | None) -> str:
    return f"{100 * share:.1f}" if _is_number(share) else NOT_MEASURED


def _count(number: float | None) -> str:
    return f"{number:,.0f}" if _is_number(number) else NOT_MEASURED


def _place(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
