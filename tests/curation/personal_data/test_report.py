"""The report counts what the patterns found, by source and kind, and judges have the last word."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.curation.personal_data.report import (
    FINDING_SCHEMA,
    NOT_JUDGED,
    PAIR_COLUMNS,
    SCANNED_SCHEMA,
    SCORED_SCHEMA,
    count_by_source,
    flagged_pairs,
    level_counts,
    pairs_to_drop,
    sample_estimate,
    scan_shard,
    tally_pairs,
    with_judges,
)
from synpref_dagster.pairs.record import (
    PAIR_SCHEMA,
    PreferencePair,
    pairs_to_table,
    table_from_frame,
)
from synpref_dagster.storage import to_frame

EMAIL, CARD = "ann.lee@posteo.de", "4929 5071 8263 9413"


def pair(ask, chosen="Yes.", rejected="No.", *, source="chats"):
    turns = [ask] if isinstance(ask, str) else ask
    roles = ["user", "assistant"] * len(turns)
    return PreferencePair(
        conversation=tuple(
            {"role": role, "content": text} for role, text in zip(roles, turns, strict=False)
        ),
        chosen=chosen,
        rejected=rejected,
        source=source,
        origin="human",
    )


PAIRS = [
    pair("What is rain?"),
    pair(["Hi", "Hello!", f"I am {EMAIL}"], chosen=f"Thanks, {EMAIL}"),
    pair("Pay", rejected=f"Use {CARD}, or write to {EMAIL}", source="shop"),
    pair("Sky?", source="shop"),
    pair("Sea?", source="quiz"),
]


def scanned(pairs=PAIRS):
    found = scan_shard(pairs_to_table(pairs))
    return {name: to_frame(table) for name, table in found.items()}


def test_a_finding_names_pair_field_kind_and_place():
    findings = scanned()["findings"]
    rows = [
        (PAIRS[1], "turn 2", "email", 5, len(EMAIL)),
        (PAIRS[1], "chosen", "email", 8, len(EMAIL)),
        (PAIRS[2], "rejected", "payment_card", 4, len(CARD)),
        (PAIRS[2], "rejected", "email", 37, len(EMAIL)),
    ]
    columns = ["pair_id", "field", "kind", "start", "length"]
    expected = [(each.pair_id, *rest) for each, *rest in rows]
    assert [tuple(row) for row in findings[columns].to_numpy(object)] == expected
    assert findings["source"].tolist() == ["chats", "chats", "shop", "shop"]


def test_no_table_of_the_report_holds_the_data():
    tables = scanned()
    pairs = with_judges(flagged_pairs(tables["findings"]))
    for frame in (*tables.values(), pairs, count_by_source(tables["scanned"], tally(pairs))):
        text = frame.to_csv()
        assert "posteo" not in text
        assert "4929" not in text


def test_every_pair_is_scanned_once():
    counts = scanned()["scanned"].set_index("source")["num_pairs"]
    assert counts.to_dict() == {"chats": 2, "shop": 2, "quiz": 1}


def test_an_empty_shard_and_one_without_findings_have_the_same_columns():
    for table in (PAIR_SCHEMA.empty_table(), pairs_to_table(PAIRS[:1])):
        found = scan_shard(table)
        assert found["findings"].schema == FINDING_SCHEMA
        assert found["findings"].num_rows == 0
        assert found["scanned"].schema == SCANNED_SCHEMA


def test_texts_that_are_missing_are_no_texts():
    broken = pairs_to_table(PAIRS[:1]).set_column(
        5, PAIR_SCHEMA.field("rejected"), pa.array([None], pa.string())
    )
    assert broken.column_names[5] == "rejected"
    assert scan_shard(broken)["findings"].num_rows == 0


def test_a_pair_has_all_its_kinds_and_the_level_of_the_worst():
    flagged = flagged_pairs(scanned()["findings"])
    assert flagged.to_dict("records") == [
        {"pair_id": PAIRS[1].pair_id, "source": "chats", "kinds": "email", "pattern_level": 1},
        {
            "pair_id": PAIRS[2].pair_id,
            "source": "shop",
            "kinds": "email; payment_card",
            "pattern_level": 3,
        },
    ]


def test_counts_by_source_are_pairs_not_findings_and_name_clean_sources_too():
    tables = scanned()
    flagged = with_judges(flagged_pairs(tables["findings"]))
    report = count_by_source(tables["scanned"], tally(flagged)).set_index("source")
    assert list(report.columns) == ["num_pairs", "num_flagged", "payment_card", "email"]
    assert report.loc["chats"].tolist() == [2, 1, 0, 1]
    assert report.loc["quiz"].tolist() == [1, 0, 0, 0]
    assert report.loc["shop"].tolist() == [2, 1, 1, 1]


def test_a_pool_without_findings_is_reported_as_such():
    tables = scanned(PAIRS[:1])
    pairs = with_judges(flagged_pairs(tables["findings"]))
    report = count_by_source(tables["scanned"], tally(pairs))
    assert report.to_dict("records") == [{"source": "chats", "num_pairs": 1, "num_flagged": 0}]
    assert list(pairs.columns) == PAIR_COLUMNS
    assert level_counts(tally(pairs)) == {"level 0": 0, "level 1": 0, "level 2": 0, "level 3": 0}
    assert pairs_to_drop(pairs, level=1) == {}


def tally(pairs):
    """Counted over two shards, whichever pair is in which."""
    empty = SCORED_SCHEMA.empty_table()
    table = table_from_frame(pairs).cast(SCORED_SCHEMA) if len(pairs) else empty
    return tally_pairs([table.slice(0, 1), table.slice(1)])


def judged(*rows):
    return pd.DataFrame(
        [
            {"pair_id": each.pair_id, "source": each.source, "judge_level": level}
            for each, level in rows
        ]
    ).astype({"judge_level": np.int8})


def test_a_judge_has_the_last_word_and_a_silent_one_has_none():
    flagged = flagged_pairs(scanned()["findings"])
    answers = judged((PAIRS[1], NOT_JUDGED), (PAIRS[2], 0), (PAIRS[3], 2), (PAIRS[4], 0))
    pairs = with_judges(flagged, answers).set_index("pair_id")
    assert pairs["level"].tolist() == [1, 0, 2, 0]
    assert pairs["judge_level"].tolist() == [NOT_JUDGED, 0, 2, 0]
    assert pairs["kinds"].tolist() == ["email", "email; payment_card", "", ""]
    told = tally(pairs.reset_index())
    assert sample_estimate(told) == {"confirmed_share": 0.0, "missed_share": 0.5}
    assert level_counts(told) == {"level 0": 2, "level 1": 1, "level 2": 1, "level 3": 0}


def test_without_judges_the_patterns_decide():
    pairs = with_judges(flagged_pairs(scanned()["findings"]))
    assert pairs["level"].tolist() == [1, 3]
    assert set(pairs["judge_level"]) == {NOT_JUDGED}
    assert sample_estimate(tally(pairs)) == {}


@pytest.mark.parametrize(("level", "dropped"), [(1, [1, 2]), (2, [2]), (3, [2])])
def test_pairs_from_the_level_on_are_dropped_and_the_reason_names_kinds_only(level, dropped):
    pairs = with_judges(flagged_pairs(scanned()["findings"]))
    found = pairs_to_drop(pairs, level=level)
    assert set(found) == {PAIRS[number].pair_id for number in dropped}
    assert found[PAIRS[2].pair_id] == "level 3: email; payment_card"
