import base64

import numpy as np
import pytest

from synpref_dagster.publishing import plots
from synpref_dagster.publishing.plot_style import MAX_PNG_BYTES, ON_A_PAGE


def all_plots(rng):
    many = {f"model-{n}": 0.5 + n / 20 for n in range(8)}
    return {
        "bar": plots.bar_plot(many, title="T", value_label="accuracy", intervals={}),
        "counts": plots.bar_plot(
            {"empty_response": 3}, title="T", value_label="pairs", percent=False
        ),
        "line": plots.line_plot(
            {f"variant {n}": rng.random(9) for n in range(5)}, title="T", x_label="x", y_label="y"
        ),
        "curve": plots.line_plot(
            {"loss": rng.random(2000)}, title="T", x_label="step", y_label="loss", percent=False
        ),
        "histogram": plots.histogram(
            {"kept": rng.integers(0, 9000, size=30), "flipped": rng.integers(0, 90, size=30)},
            np.linspace(-3.0, 3.0, 31),
            title="T",
            x_label="margin",
        ),
        "stacked": plots.stacked_shares(
            {f"source {n}": {"kept": 5, "flipped": n, "discarded": 2} for n in range(9)}, title="T"
        ),
        "calibration": plots.calibration_plot(
            {"gold RM": [(0.6, 0.5, 0.4, 0.6), (0.9, 0.8, 0.7, 0.9)]},
            title="T",
            x_label="confidence",
            y_label="right",
            size=ON_A_PAGE,
        ),
        "before": plots.before_and_after(
            {"a": 0.7, "b": 0.4}, {"a": 0.5}, title="T", value_label="share", size=ON_A_PAGE
        ),
        "band": plots.line_plot(
            {"gold": [0.5, 0.6]},
            title="T",
            x_label="x",
            y_label="y",
            intervals={"gold": [(0.4, 0.6), (0.5, np.nan)]},
        ),
        "leaderboard": plots.leaderboard_plot(many, title="T", published={"model-1": 0.7}),
    }


def test_every_plot_is_a_png_small_enough_for_an_event_log():
    for name, png in all_plots(np.random.default_rng(0)).items():
        assert png.startswith(b"\x89PNG\r\n"), name
        assert len(png) < MAX_PNG_BYTES, name


def test_the_same_figures_give_the_same_bytes():
    once, again = (all_plots(np.random.default_rng(0)) for _ in range(2))
    assert once == again


def test_markdown_holds_the_whole_plot():
    png = plots.bar_plot({"a": 0.5}, title="T", value_label="share")
    text = plots.markdown_image(png, "Accuracy [gold]")
    assert text.startswith("![Accuracy (gold)](data:image/png;base64,")
    assert base64.b64decode(text.split("base64,")[1].removesuffix(")")) == png
    with pytest.raises(ValueError, match="more than 50000"):
        plots.markdown_image(b"0" * 50_001, "big")


def test_a_plot_of_nothing_says_so():
    empty = plots.bar_plot({}, title="T", value_label="share")
    assert empty == plots.stacked_shares({}, title="T")
    assert empty.startswith(b"\x89PNG")


def test_degenerate_values_still_plot():
    assert plots.bar_plot({"a": np.nan, "b": 0.4}, title="T", value_label="share")
    assert plots.line_plot({"loss": []}, title="T", x_label="x", y_label="y")
    assert plots.leaderboard_plot({"a": np.nan}, title="T")
    assert plots.bar_plot({"a": 0.0, "b": 0.0}, title="T", value_label="share")
    assert plots.histogram({"none": [0, 0]}, [0.0, 1.0, 2.0], title="T", x_label="margin")
    assert plots.histogram({}, [0.0, 1.0], title="T", x_label="margin")
    assert plots.line_plot({"gap": [np.nan, 0.5, np.nan]}, title="T", x_label="x", y_label="y")
    assert plots.stacked_shares({"empty": {"kept": 0}}, title="T")
    assert plots.leaderboard_plot({"only": 0.5}, title="T")


def test_names_that_are_long_leave_room_for_what_is_drawn_and_stay_apart():
    long = {"a" * 70 + name: {"kept": 1, "flipped": 1} for name in ("b", "c")}
    # Matplotlib warns, and warnings are errors here, where nothing is left to draw in.
    assert plots.stacked_shares(long, title="", size=ON_A_PAGE)
    shares = dict.fromkeys(long, 0.5)
    assert plots.before_and_after(shares, shares, title="", value_label="v", size=ON_A_PAGE)
    assert ON_A_PAGE.shortened("a" * 70 + "b") != ON_A_PAGE.shortened("a" * 70 + "c")
