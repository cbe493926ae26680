"""The campaign report as one HTML file: one screen first, then sections that open.

The page is made from `report.json` alone, so that both always say the same. It loads nothing from
anywhere (a content security policy forbids it) and escapes every text that it shows.
"""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

from synpref_dagster.publishing.report.figures import Figure
from synpref_dagster.publishing.report.first_screen import first_screen
from synpref_dagster.publishing.report.labels import outcome
from synpref_dagster.publishing.report.section import Report
from synpref_dagster.publishing.report.sections import sections_of
from synpref_dagster.publishing.report.tables import interval, is_number, percent, shown

if TYPE_CHECKING:
    from jinja2 import Environment

REQUIRED = ("profile", "seed", "seconds", "pool", "decisions")


def render_report(report: Report, figures: Mapping[str, Figure] | None = None) -> str:
    """The report page.

    Args:
        report: the content of `report.json`. Required: `REQUIRED`.
            Parts that a campaign could not measure may be missing or None; the page says so.
        figures: from `report_figures`; a section shows those that it names.

    Returns:
        A complete HTML document without any external reference.

    Raises:
        ValueError: a required key is missing.
    """
    if missing := [key for key in REQUIRED if key not in report]:
        raise ValueError(f"the report has no {', '.join(missing)}")
    template = _environment().get_template("report.html.jinja")
    return template.render(
        title=f"{report['profile']}, seed {report['seed']}",
        blocks=first_screen(report),
        sections=sections_of(report),
        figures={
            key: {
                "title": figure.title,
                "caption": figure.caption,
                "source": _data_uri(figure.png),
            }
            for key, figure in (figures or {}).items()
        },
    )


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("synpref_dagster.publishing.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "percent": percent,
        "place": _place,
        "span_to": lambda low, high: _place(high - low),
        "interval": interval,
        "shown": shown,
        "outcome": outcome,
    }
    environment.tests["figure"] = is_number
    return environment


def _place(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
