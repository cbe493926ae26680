"""The table of sources as people read it."""

from synpref_dagster.publishing.report.sources import source_tables, table_cells

POOL = {
    "source": "lm",
    "num_rows": 1_999, "num_unfolded": 12, "num_outside": 12, "num_quarantined": 157,
    "num_pairs": 1_842, "num_duplicates": 3, "num_dropped": 2,
    "num_contradictory": 0, "num_clean": 1_837,
    "quarantined_as": {"tied": 105, "empty_response": 52}, "dropped_as": {"contaminated": 2},
    "longer_before": {"value": 0.61, "low": 0.6, "high": 0.62, "n": 1_800},
}  # fmt: skip
NOTHING = {"value": None, "low": None, "high": None, "n": 0}
WHOLE = {
    **POOL,
    "num_kept": 1_000, "num_flipped": 200, "num_discarded": 637,
    "judges": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 90}, "votes": NOTHING,
    "longer_after": {"value": 0.55, "low": 0.5, "high": 0.6, "n": 1_150},
    "label_accuracy": {
        "value": 0.724, "low": 0.675, "high": 0.768, "n": 348, "by": "people", "covers": 0.75,
    },
}  # fmt: skip


def test_a_source_is_a_row_with_reasons_and_intervals_in_small():
    [table] = source_tables([WHOLE])
    [(name, cells)] = table.rows
    row = {title: (cell.text, cell.note) for title, cell in zip(table.columns, cells, strict=True)}
    assert name == "lm"
    assert row["rows"] == ("1,999", "")
    assert [row[name][0] for name in ("unfolded", "left out", "pairs")] == ["12", "12", "1,842"]
    assert row["quarantined"] == ("157", "105 tied, 52 empty response")
    assert row["right labels, estimated"] == (
        "72.4%",
        "67.5% to 76.8%, 348 gold pairs about 75.0% of it",
    )
    assert row["judges agree"] == ("50.0%", "n = 90")
    assert row["recorded votes agree"] == ("–", "")
    assert (row["longer preferred"][0], row["longer preferred after"][0]) == ("61.0%", "55.0%")


def test_an_estimate_says_who_it_comes_from_and_that_nobody_can_say():
    by_model = {**WHOLE["label_accuracy"], "by": "reward model", "covers": 1.0}
    unknown = {**NOTHING, "by": "nobody", "covers": 0.0}
    [table] = source_tables([{**WHOLE, "label_accuracy": each} for each in (by_model, unknown)])
    place = list(table.columns).index("right labels, estimated")
    notes = [(cells[place].text, cells[place].note) for _, cells in table.rows]
    assert notes == [
        ("72.4%", "67.5% to 76.8%, 348 gold pairs, through the reward model"),
        ("–", "nobody was asked"),
    ]


def test_of_which_pairs_the_truth_is_known_stands_beside_them_and_who_decided_them():
    known = {"lm": {"num_known": 649, "num_by_people": 605}}

    def told(**truth):
        [table] = source_tables([WHOLE, {**WHOLE, "source": "hh"}], truth)
        place = list(table.columns).index("truth known")
        return [(cells[place].text, cells[place].note) for _, cells in table.rows]

    same = told(by_source=known, votes_play_people=True)
    assert same == [
        (
            "649",
            "605 decided by people; the votes that play people are the truth, too: no independent "
            "check",
        ),
        ("–", ""),
    ]
    assert told(by_source=known, votes_play_people=False)[0] == ("649", "605 decided by people")
    assert "truth known" not in source_tables([WHOLE])[0].columns


def test_the_pools_part_alone_is_a_table_too():
    [row] = table_cells([POOL])
    assert row == {
        "source": "lm", "rows": 1_999, "unfolded": 12, "left out": 12, "quarantined": 157,
        "pairs": 1_842, "duplicates": 3, "dropped": 2,
        "contradictory": 0, "clean": 1_837, "longer preferred": "61.0% (n = 1,800)",
        "quarantined as": "105 tied, 52 empty response", "dropped as": "2 contaminated",
    }  # fmt: skip


def test_a_report_without_sources_shows_no_table():
    assert source_tables(None) == source_tables([]) == []
