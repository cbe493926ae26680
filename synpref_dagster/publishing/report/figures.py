"""The plots of the report page, drawn from the report itself so that both show the same numbers."""

from typing import Any

from synpref_dagster.publishing.plots import bar_plot, leaderboard_plot, line_plot


def report_figures(report: dict[str, Any]) -> dict[str, bytes]:
    """PNG bytes by caption, in the order in which the page shows them."""
    return {
        "How right the labels are": _accuracies(
            {
                "original pool": report["label_accuracy"]["before"],
                "kept": report["label_accuracy"]["kept"],
                "flipped": report["label_accuracy"]["flipped"],
                "curated": report["label_accuracy"]["after"],
            },
            title="Share of right labels",
        ),
        "Reward models by training set": _accuracies(
            report["rm_accuracy"], title=f"Accuracy on {report['test_set']}"
        ),
        "Iterations": line_plot(
            {name: _values(rows) for name, rows in _by_iteration(report).items() if rows},
            title="Accuracy of each iteration's model",
            x_label="iteration",
            y_label="accuracy",
        ),
        "Judges and exemplars": _accuracies(
            report["judge_agreement"], title=f"Judges' agreement on {report['test_set']}"
        ),
        "Releases": leaderboard_plot(
            {
                row["model_size"]: row["average"]
                for row in report["leaderboard"]
                if row["average"] is not None
            },
            title="Average over the benchmarks",
        ),
    }


def _by_iteration(report: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {
        "gold validation": report["gold_accuracy_by_iteration"],
        "clean test": report["test_accuracy_by_iteration"],
    }


def _accuracies(found: dict[str, dict[str, Any]], *, title: str) -> bytes:
    known = {name: each for name, each in found.items() if each["value"] is not None}
    return bar_plot(
        {name.replace("_", " "): each["value"] for name, each in known.items()},
        title=title,
        value_label="share right",
        intervals={
            name.replace("_", " "): (each["low"], each["high"]) for name, each in known.items()
        },
    )


def _values(rows: list[dict[str, Any]]) -> list[float]:
    return [float("nan") if row["value"] is None else row["value"] for row in rows]
