"""What a section of the report page is: data, for a template that knows no section."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synpref_dagster.curation.filtering.decision import DECISIONS
from synpref_dagster.publishing.report.tables import FigureTable

Report = Mapping[str, Any]
CLEAN_TEST_SET = "the clean test set"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """What a section of the page shows, in this order."""

    key: str
    """Names its place on the page."""
    title: str
    gist: str = ""
    """What stands beside the title while it is closed."""
    night: str = ""
    """When its figures were made, where nights make some of them anew."""
    intro: str = ""
    claims: Sequence[Mapping[str, Any]] = ()
    measures: Sequence[tuple[str, str, Any]] = ()
    """Name, explanation, and an accuracy that is drawn on a scale from nothing to all."""
    figures: Sequence[str] = ()
    """Plots by their keys in `figures.report_figures`."""
    tables: Sequence[FigureTable] = ()
    lines: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to open."""
        return not (self.claims or self.measures or self.tables or self.lines or self.intro)


def in_order(decisions: Mapping[str, Any]) -> dict[str, Any]:
    """Decisions as people think of them; JSON has them by letter.

    >>> in_order({"discarded": 1, "kept": 2})
    {'kept': 2, 'discarded': 1}
    """
    known = [name for name in DECISIONS if name in decisions]
    return {name: decisions[name] for name in [*known, *(n for n in decisions if n not in known)]}


def named(found: Any, names: Mapping[str, tuple[str, str]]) -> list[tuple[str, str, Any]]:
    """(name, explanation, accuracy) of all accuracies of a group, known ones first."""
    accuracies = {key: each for key, each in (found or {}).items() if isinstance(each, Mapping)}
    order = [
        *(key for key in names if key in accuracies),
        *(key for key in accuracies if key not in names),
    ]
    return [(*names.get(key, (key.replace("_", " "), "")), accuracies[key]) for key in order]


def night_of(report: Report, asset: str) -> str:
    """When the figures of an asset were made, as a sentence; empty where that is not known."""
    night = (report.get("nights") or {}).get(asset)
    return f"Figures of {night}." if night else ""
