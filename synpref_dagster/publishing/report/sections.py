"""The sections of the report page below its first screen, in order."""

from collections.abc import Callable

from synpref_dagster.publishing.report import labels, models, origins
from synpref_dagster.publishing.report.section import Report, Section

SECTIONS: tuple[Callable[[Report], Section | None], ...] = (
    labels.claims,
    labels.accuracy,
    labels.decisions,
    labels.by_source,
    labels.lengths,
    models.compared,
    models.released,
    models.iterations,
    models.calibration,
    origins.judges,
    origins.people,
    origins.cost,
    origins.data,
    origins.simulated,
    origins.next_steps,
)
"""A section is added by a line here: a function that gives it, or None where it has nothing."""


def sections_of(report: Report) -> list[Section]:
    """The sections that have something to show, in order."""
    made = (build(report) for build in SECTIONS)
    return [section for section in made if section is not None and not section.is_empty]
