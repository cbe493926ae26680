"""The judges' tables of the report page."""

from synpref_dagster.publishing.report.judges import judge_tables
from synpref_dagster.publishing.report.tables import NOT_MEASURED


def figures(value, n=50):
    return {"value": value, "low": None, "high": None, "n": n}


QUALITY = {
    "truth": {"a": {"agreement": figures(0.7)}},
    "gold": {
        "panel": {"agreement": {"value": 0.91, "low": 0.85, "high": 0.95, "n": 90}},
        "a": {
            "vote_weight": figures(1.386, 0),
            "agreement": figures(0.8),
            "agreement objective": figures(0.9),
            "agreement math": figures(1.0, 7),
            "length_bias": {"value": -0.031, "low": -0.05, "high": -0.01, "n": 40},
            "usd_per_correct_label": {"value": 0.0125, "low": 0.0125, "high": 0.0125, "n": 40},
        },
    },
}


def column(table, judge):
    place = list(table.columns).index(judge)
    return {name: cells[place] for name, cells in table.rows}


def test_gold_comes_before_the_truth_and_the_panel_last():
    tables = judge_tables(QUALITY)
    assert [table.title for table in tables] == [
        "Judges against people's gold",
        "Judges against the sealed truth",
    ]
    assert list(tables[0].columns) == ["a", "panel"]


def test_each_measure_is_written_in_its_own_way():
    found = column(judge_tables(QUALITY)[0], "a")
    assert (found["vote counts"].text, found["vote counts"].note) == ("1.39", "")
    assert found["agreement"].text == "80.0%"
    assert found["length bias, points"].text == "-3.1"
    assert found["length bias, points"].note == "-5.0 to -1.0, n = 40"
    assert found["per correct label"].text == "$0.013"
    assert found["per correct label"].note == "n = 40"


def test_what_was_not_measured_is_a_dash():
    found = column(judge_tables(QUALITY)[0], "panel")
    assert found["agreement, objective"].text == NOT_MEASURED
    assert found["agreement"].note == "85.0% to 95.0%, n = 90"


def test_categories_follow_the_measures_of_all_pairs():
    names = [name for name, _ in judge_tables(QUALITY)[0].rows]
    assert names[-1] == "agreement, math"
    assert names.index("agreement, objective") < names.index("length bias, points")


def test_a_report_without_judges_has_no_table():
    assert judge_tables(None) == []
    assert judge_tables({}) == []
