"""Structural reasons, exact deduplication and contradictions on tables a person can check."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.pool.cleaning import check_structure, contradicted_rows, first_copies
from synpref_dagster.pairs.record import (
    CONVERSATION_TYPE,
    PAIR_SCHEMA,
    PreferencePair,
    id_array,
    pairs_to_table,
)
from synpref_dagster.pairs.structure import STRUCTURAL_REASONS, structural_reasons

USER = {"role": "user", "content": "Hi"}
REPLY = {"role": "assistant", "content": "Hello!"}
SYSTEM = {"role": "system", "content": "Be kind."}


def pair(chosen: str = "a", rejected: str = "b", *, ask: str = "Hi", source: str = "s1"):
    return PreferencePair(
        conversation=({"role": "user", "content": ask},),
        chosen=chosen,
        rejected=rejected,
        source=source,
        origin="human",
    )


@pytest.mark.parametrize(
    ("conversation", "chosen", "rejected", "reasons"),
    [
        ([USER], "a", "b", ()),
        ([SYSTEM, USER, REPLY, USER], "a", "b", ()),
        ([USER], "", "b", ("empty_response",)),
        ([USER], "a", " \n\u3000", ("empty_response",)),
        ([USER], None, "b", ("empty_response",)),
        ([USER], "", "", ("empty_response",)),
        ([USER], "a", False, ("not_text",)),
        ([USER], "a", "a", ("identical_responses",)),
        ([USER], "a", " a\n", ("identical_responses",)),
        ([USER], "a", "A", ()),
        ([USER, USER], "a", "b", ("roles_not_alternating",)),
        ([SYSTEM, SYSTEM, USER], "a", "b", ("roles_not_alternating",)),
        ([REPLY, USER], "a", "b", ("roles_not_alternating",)),
        ([USER, REPLY], "a", "b", ("conversation_not_ending_with_user",)),
        ([], "a", "b", ("empty_conversation",)),
        ([SYSTEM], "a", "b", ("empty_conversation",)),
        ([{"role": "bot", "content": "x"}, USER], "a", "b", ("unknown_role",)),
        ([{"role": "user", "content": " "}], "a", "b", ("empty_turn",)),
        ([{"role": "user", "content": 3}], "a", "b", ("not_text",)),
        ([{"role": "user"}], "a", "b", ("malformed_conversation",)),
        (None, "a", "b", ("malformed_conversation",)),
        ("Hi", "a", "b", ("malformed_conversation",)),
        ([USER], "a\ud800", "b", ("not_encodable",)),
        ([USER], "a\x00", "b", ("null_byte",)),
        ([USER], "a" * 11, "b", ("over_byte_limit",)),
        ([USER], "é" * 6, "b", ("over_byte_limit",)),
        ([USER, REPLY, REPLY], "", "b" * 11, (
            "over_byte_limit",
            "roles_not_alternating",
            "conversation_not_ending_with_user",
            "empty_response",
        )),
    ],
)  # fmt: skip
def test_every_reason_against_a_pair_is_found(conversation, chosen, rejected, reasons):
    assert structural_reasons(conversation, chosen, rejected, max_text_bytes=10) == reasons


DROPPED_SCHEMA = PAIR_SCHEMA.append(pa.field("reason", pa.string())).append(
    pa.field("detail", pa.string())
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(anything, anything, anything)
@settings(max_examples=300, deadline=None)
def test_no_input_breaks_the_structural_check(conversation, chosen, rejected):
    found = structural_reasons(conversation, chosen, rejected)
    assert set(found) <= set(STRUCTURAL_REASONS)
    if not found:
        assert isinstance(chosen, str)
        assert isinstance(rejected, str)


def test_a_table_is_split_into_sound_and_dropped_rows():
    table = pairs_to_table([pair(), pair("a", " "), pair("c", "c"), pair("x", "y")])
    kept, dropped = check_structure(table)
    assert kept.equals(pa.concat_tables([table.slice(0, 1), table.slice(3, 1)]))
    assert dropped.schema == DROPPED_SCHEMA
    assert dropped.column("reason").to_pylist() == ["empty_response", "identical_responses"]


def test_a_null_response_in_a_table_is_dropped():
    table = pairs_to_table([pair(), pair("c")])
    position = table.column_names.index("chosen")
    table = table.set_column(position, "chosen", pa.array([None, "c"]))
    assert check_structure(table).dropped.column("reason").to_pylist() == ["empty_response"]


def test_an_empty_table_stays_empty_and_typed():
    empty = PAIR_SCHEMA.empty_table()
    selection = check_structure(empty)
    assert selection.kept.schema == PAIR_SCHEMA
    assert selection.dropped.schema == DROPPED_SCHEMA
    assert selection.kept.num_rows == selection.dropped.num_rows == 0
    assert first_copies(empty).tolist() == []
    assert contradicted_rows(empty).tolist() == []


def test_the_first_copy_counts_across_sources():
    rows = [pair(source="s1"), pair("c", "d"), pair(source="s2"), pair("b", "a"), pair()]
    assert first_copies(pairs_to_table(rows)).tolist() == [0, 1, 0, 3, 0]


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_first_copies_are_those_of_a_set_of_seen_ids_on_any_chunking(numbers, chunk):
    # Ids that agree in their first or second half only are different ids.
    ids = [bytes([number // 3] * 8 + [number % 3] * 8) for number in numbers]
    chunks = [id_array(ids[start : start + chunk]) for start in range(0, len(ids), chunk)]
    column = pa.chunked_array(chunks, type=PAIR_SCHEMA.field("pair_id").type)
    seen = {}
    expected = [seen.setdefault(one, place) for place, one in enumerate(ids)]
    assert first_copies(pa.table({"pair_id": column})).tolist() == expected


def test_a_pair_under_both_labels_is_a_contradiction():
    rows = [pair("a", "b"), pair("c", "d"), pair("b", "a"), pair("a", "b"), pair("a", "b", ask="?")]
    assert contradicted_rows(pairs_to_table(rows)).tolist() == [True, False, True, True, False]


def test_a_repeated_pair_is_no_contradiction():
    assert not contradicted_rows(pairs_to_table([pair(), pair(), pair()])).any()


def test_ids_without_value_are_refused():
    storage = pa.array([b"x" * 16, None], pa.binary(16))
    column = pa.ExtensionArray.from_storage(pa.uuid(), storage)
    with pytest.raises(ValueError, match="1 ids are null"):
        first_copies(pa.table({"pair_id": column}))


def test_sliced_tables_count_from_their_own_first_row():
    whole = pairs_to_table([pair(str(number % 4), "x") for number in range(12)])
    assert first_copies(whole.slice(3, 6)).tolist() == [0, 1, 2, 3, 0, 1]


def test_the_schema_of_conversations_survives():
    kept, dropped = check_structure(pairs_to_table([pair(), pair("a", "a")]))
    assert kept.schema.field("conversation").type == CONVERSATION_TYPE
    assert dropped.schema.field("conversation").type == CONVERSATION_TYPE
    assert np.all(np.array(kept.column("chosen").to_pylist()) == "a")
