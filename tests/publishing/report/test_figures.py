"""Plots are drawn from the report alone, each with what one sees and n; no figures, no plot."""

from synpref_dagster.publishing.report.figures import report_figures


def accuracy(value, n=100):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": n}


REPORT = {
    "decisions_by_source": {
        "hh": {"discarded": 10, "flipped": 0, "kept": 90},
        "lm": {"discarded": 60, "flipped": 20, "kept": 20},
    },
    "margins_by_decision": {
        "edges": [-1.0, 0.0, 1.0],
        "num_pairs": {"discarded": [50, 20], "flipped": [20, 0], "kept": [10, 100]},
    },
    "gold_accuracy_by_iteration": [accuracy(0.6, 128), accuracy(0.7, 128)],
    "test_accuracy_by_iteration": [],
    "calibration": {
        "gold": [{"from": 0.5, "to": 0.6, "confidence": 0.55, **accuracy(0.5, 30)}],
        "best": [],
    },
    "by_source": [
        {"source": "hh", "longer_before": accuracy(0.7), "longer_after": accuracy(0.6, 80)},
        {"source": "lm", "longer_before": accuracy(0.4), "longer_after": {"value": None, "n": 0}},
    ],
}


def test_every_plot_is_a_png_with_a_title_and_says_how_many_it_is_about():
    figures = report_figures(REPORT)
    assert list(figures) == ["decisions", "margins", "iterations", "calibration", "length"]
    for figure in figures.values():
        assert figure.png.startswith(b"\x89PNG")
        assert figure.title
        assert "n = " in figure.caption
    assert "Most is kept of hh (90.0%), least of lm (20.0%)" in figures["decisions"].caption
    assert "n = 200 pairs" in figures["decisions"].caption
    assert "n = 200 pairs" in figures["margins"].caption
    assert "n = 128 (gold)" in figures["iterations"].caption
    assert "n = 30 (gold RM)" in figures["calibration"].caption
    assert "n = 200 before, 80 after" in figures["length"].caption


def test_the_same_report_gives_the_same_bytes():
    assert report_figures(REPORT) == report_figures(REPORT)


def test_a_report_of_an_earlier_version_has_the_plots_that_it_has_figures_for():
    assert list(report_figures({})) == []
    old = {"gold_accuracy_by_iteration": REPORT["gold_accuracy_by_iteration"]}
    assert list(report_figures(old)) == ["iterations"]
    unmeasured = {"gold_accuracy_by_iteration": [{"value": None, "n": 0}]}
    assert list(report_figures(unmeasured)) == []
