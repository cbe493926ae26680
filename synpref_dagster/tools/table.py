"""A benchmark report as tables of text, and as JSON: figures are shares, with 95% intervals."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import pandas as pd

from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.settings.benchmarks import BENCHMARK_SUBSETS
from synpref_dagster.tools.benchmarking import BenchmarkReport, ModelScores, published_name

Cells = Sequence[str]


class Table(NamedTuple):
    """Rows of text under a title; the first column names a row."""

    title: str
    columns: Cells
    rows: Sequence[Cells]


def tables(report: BenchmarkReport, *, all_scores: bool = True) -> list[Table]:
    """Headlines, best of K, sub-scores and published rows, those that there are.

    Args:
        report: what to show.
        all_scores: also the scores of single subsets, languages and scenarios of published sets.
    """
    scores = _sub_scores(report, all_scores=all_scores)
    found = [_headlines(report), _curves(report), scores, _published(report)]
    return [table for table in found if table.rows]


def as_markdown(report: BenchmarkReport) -> str:
    """All tables, and what has to be known beside them."""
    parts = [
        f"## {table.title}\n\n"
        + pd.DataFrame(table.rows, columns=[*table.columns]).to_markdown(
            index=False, disable_numparse=True
        )
        for table in tables(report)
    ]
    if report.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in report.notes))
    return "\n\n".join(parts) + "\n"


def as_json(report: BenchmarkReport) -> dict[str, Any]:
    """Every figure, as JSON values."""
    return {
        "models": [
            {
                "name": model.name,
                "place": model.place,
                "fingerprint": model.fingerprint,
                "num_scored": model.num_scored,
                "num_kept": model.num_kept,
                "results": [_finite(asdict(result)) for result in model.results],
                "best_of_k": _records(model.curves) if model.curves is not None else None,
            }
            for model in report.models
        ],
        "headlines": dict(report.headlines),
        "published": _records(report.published),
        "notes": list(report.notes),
    }


def _finite(value: Any) -> Any:
    """A value whose floats that are no numbers are None, as JSON has it."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values; what is not a number is null."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def share(value: float | None) -> str:
    """A share as text.

    >>> share(0.5), share(None)
    ('.500', '')
    """
    if value is None or pd.isna(value):
        return ""
    return f"{value:.3f}".replace("0.", ".", 1) if 0 <= value < 1 else f"{value:.3f}"


def _headlines(report: BenchmarkReport) -> Table:
    names = [model.name for model in report.models]
    rows = []
    for place, name in enumerate(report.titles):
        results = [model.results[place] for model in report.models]
        first = results[0]
        title = report.titles[name] + (" (partial)" if first.missing_subsets else "")
        told = [f"{share(r.headline)} [{share(r.low)} {share(r.high)}]" for r in results]
        rows.append(
            [title, f"{first.num_items:,}", *told, share(first.longer), share(first.chance)]
        )
    return Table("Headlines", ["benchmark", "items", *names, "longer", "chance"], rows)


def _sub_scores(report: BenchmarkReport, *, all_scores: bool) -> Table:
    rows = [
        [name, score, *(share(model.results[place].scores.get(score)) for model in report.models)]
        for place, name in enumerate(report.titles)
        for score in report.models[0].results[place].scores
        # Counts, and every K of a curve, are in the JSON.
        if "num_" not in score
        and "best_of_" not in score
        and (all_scores or "/" not in score or name not in BENCHMARK_SUBSETS)
    ]
    return Table("Sub-scores", ["benchmark", "score", *(m.name for m in report.models)], rows)


def _curves(report: BenchmarkReport) -> Table:
    shown = [model for model in report.models if model.curves is not None]
    if not shown:
        return Table("", [], [])
    by_k = [_by_k(model) for model in shown]
    sizes = [k for k in (1, 2, 4, 8, 16, 32, 64) if k in by_k[0].index]
    rows = [
        [str(k), *(share(each.loc[k, "achieved"]) for each in by_k), share(by_k[0].loc[k].ceiling)]
        for k in sizes
    ]
    title = "Best of K on PPE Correctness: right responses"
    return Table(title, ["K", *(model.name for model in shown), "best there is"], rows)


def _by_k(model: ModelScores) -> pd.DataFrame:
    assert model.curves is not None
    return model.curves.groupby("k")[["achieved", "ceiling"]].mean()


def _published(report: BenchmarkReport) -> Table:
    """Published rows and, between them, the models measured here on what they have in common."""
    columns = [name for name in report.published.columns if name not in ("model", "kind")]
    rows = [_measured_row(model, columns) for model in report.models if columns]
    ours = {published_name(model.name) for model in report.models}
    rows += [
        [f"{row['model']}{' (same name)' if row['model'].lower() in ours else ''}", row["kind"]]
        + [share(row[name]) for name in columns]
        for row in _records(report.published)
    ]
    is_partial = any("*" in cell for row in rows for cell in row)
    title = "Beside published figures" + (" (* of a part)" if is_partial else "")
    return Table(title, ["model", "kind", *columns], rows)


def _measured_row(model: ModelScores, columns: Sequence[str]) -> list[str]:
    own = {result.benchmark: result for result in model.results}
    return [model.name, "measured here", *_marked(own, columns)]


def _marked(own: dict[str, BenchmarkResult], columns: Sequence[str]) -> Iterator[str]:
    for name in columns:
        yield share(own[name].headline) + ("*" if own[name].missing_subsets else "")
