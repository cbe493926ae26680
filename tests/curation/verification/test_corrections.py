"""What people correct about a pair besides its label."""

import pandas as pd
import pytest
from hypothesis import given, strategies as st

from synpref_dagster.curation.verification.corrections import (
    agreed_edits,
    corrected,
    edits_by_pair,
    read_edits,
    write_edits,
)

SUBJECTIVE, OBJECTIVE, NOTHING = {"objectivity": "subjective"}, {"objectivity": "objective"}, {}


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ([], NOTHING),
        ([NOTHING], NOTHING),
        ([SUBJECTIVE], SUBJECTIVE),
        ([SUBJECTIVE, NOTHING], SUBJECTIVE),
        ([NOTHING, SUBJECTIVE], SUBJECTIVE),
        ([NOTHING, SUBJECTIVE, NOTHING], NOTHING),
        ([SUBJECTIVE, OBJECTIVE], OBJECTIVE),
        ([OBJECTIVE, SUBJECTIVE], SUBJECTIVE),
        ([SUBJECTIVE, SUBJECTIVE, OBJECTIVE], SUBJECTIVE),
        ([SUBJECTIVE, OBJECTIVE, NOTHING], OBJECTIVE),
    ],
)
def test_most_people_decide_then_the_correction_then_the_newer_one(said, holds):
    assert agreed_edits(said) == holds


def test_attributes_are_agreed_on_one_by_one():
    said = [{"objectivity": "subjective", "task_category": "math"}, {"task_category": "editing"}]
    assert agreed_edits(said) == {"objectivity": "subjective", "task_category": "editing"}


def test_a_ledger_gives_the_corrections_of_each_pair():
    ledger = pd.DataFrame(
        {
            "pair_id": [b"a", b"b", b"a", b"c"],
            "edited_attributes": [write_edits(SUBJECTIVE), "{}", write_edits(OBJECTIVE), None],
        }
    )
    assert edits_by_pair(ledger) == {b"a": '{"objectivity": "objective"}'}
    assert edits_by_pair(ledger.drop(columns="edited_attributes")) == {}


def test_corrections_replace_only_what_was_corrected():
    shown = [{"objectivity": "objective", "task_category": "math"}] * 2
    assert corrected(shown, [write_edits(SUBJECTIVE), float("nan")]) == [
        {"objectivity": "subjective", "task_category": "math"},
        {"objectivity": "objective", "task_category": "math"},
    ]


@given(st.text())
def test_whatever_people_write_survives_the_table(text):
    edits = {"annotation_guideline": text}
    assert read_edits(write_edits(edits)) == edits


def test_what_is_no_attribute_is_not_read():
    assert read_edits('{"label": "chosen", "objectivity": "objective"}') == OBJECTIVE
