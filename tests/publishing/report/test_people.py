"""The people on the report page."""

from synpref_dagster.publishing.report.people import people_tables

PEOPLE = {
    "all": {
        "all": {
            "num_verdicts": 1200,
            "alpha": 0.5,
            "pairwise": 0.75,
            "num_pairs_seen_twice": 20.0,
            "undecided_share": 0.015,
            "median_seconds": 41.0,
            "minutes_per_pair": 1.25,
            "cost_per_pair": None,
        }
    },
    "annotator": {
        "ann_b": {"num_verdicts": 30, "agreement": 0.8, "drift": -0.055, "cost_per_pair": None},
        "carl": {"num_verdicts": 20, "agreement": None, "drift": None, "cost_per_pair": 0.4},
    },
}


def test_the_whole_comes_first_and_shows_only_what_was_recorded():
    whole, by_annotator = people_tables(PEOPLE)
    assert whole.title == "All people"
    [(_, cells)] = whole.rows
    assert [cell.text for cell in cells] == [
        "1,200", "0.500", "75.0%", "20", "1.5%", "41 s", "1.2 min",
    ]  # fmt: skip
    assert "cost per pair" not in whole.columns
    assert by_annotator.columns == [
        "verdicts", "agreement with others", "drift, points", "cost per pair",
    ]  # fmt: skip
    assert [(name, [cell.text for cell in cells]) for name, cells in by_annotator.rows] == [
        ("ann_b", ["30", "80.0%", "-5.5", "–"]),
        ("carl", ["20", "–", "–", "0.40"]),
    ]


def test_a_report_without_people_has_no_tables():
    assert people_tables(None) == []
    assert people_tables({"annotator": {}}) == []
