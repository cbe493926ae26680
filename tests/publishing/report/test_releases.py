"""The leaderboard of the page: intervals, items, and suites of one's own."""

from synpref_dagster.publishing.report.releases import headline, leaderboard_tables


def found(value, n=50):
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": n}


def rows_of(report):
    [table] = leaderboard_tables(report)
    return [
        (name, dict(zip(table.columns, [(cell.text, cell.note) for cell in cells], strict=True)))
        for name, cells in table.rows
    ]


def test_a_suite_of_ones_own_is_a_column_after_the_seven():
    benchmarks = {"my_suite": found(0.9, 12), "rmb": found(0.5)}
    release = {"model_size": "m", "average": found(0.5), "benchmarks": benchmarks, "gold": None}
    [(name, row)] = rows_of({"releases": [release]})
    assert name == "m"
    assert list(row) == ["average", "RMB", "my_suite", "gold", "trained on the decisions of"]
    assert row["my_suite"] == ("90.0", "89.0 to 91.0, n = 12")
    assert row["gold"] == ("–", "")


def test_a_report_of_an_earlier_version_has_its_figures_without_intervals():
    report = {"leaderboard": [{"model_size": "m", "rmb": 0.5, "average": 0.5, "night": "Monday"}]}
    [(_, row)] = rows_of(report)
    assert row["average"] == ("50.0", "")
    assert row["trained on the decisions of"] == ("Monday", "")
    assert headline(report)["model_size"] == "m"


def test_without_benchmarks_there_is_no_table_and_without_releases_no_headline():
    release = {"model_size": "m", "average": {"value": None}, "benchmarks": {}, "gold": found(0.6)}
    assert leaderboard_tables({"releases": [release]}) == []
    assert headline({"releases": []}) is None
