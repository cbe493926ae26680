"""Identities of a pair, their way through tables, and the trap that bytes are for pandas."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

import synpref_dagster
from synpref_dagster.pairs.record import (
    PAIR_SCHEMA,
    PreferencePair,
    canonical_sign,
    conversation_id,
    digest,
    first_user_turn,
    id_array,
    id_index,
    is_among,
    oriented,
    pairs_to_table,
    table_from_frame,
    table_to_pairs,
)

PACKAGE = Path(synpref_dagster.__file__).parent
ENDS_IN_ZERO = bytes(range(1, 16)) + b"\x00"
ENDS_IN_ZEROS = bytes(range(1, 15)) + b"\x00\x00"
PLAIN = bytes(range(1, 17))
ALL_ZERO = bytes(16)
IDS = [ENDS_IN_ZERO, ENDS_IN_ZEROS, PLAIN, ALL_ZERO]

texts = st.text(st.characters(), max_size=12)
printable = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def turns(*contents):
    return tuple(
        {"role": ("user", "assistant")[i % 2], "content": content}
        for i, content in enumerate(contents)
    )


def pair(chosen="a", rejected="b", *contents, meta=None):
    return PreferencePair(
        conversation=turns(*(contents or ("Hi",))),
        chosen=chosen,
        rejected=rejected,
        source="s",
        origin="human",
        meta=meta or {},
    )


def test_fields_are_prefixed_with_their_length_so_that_moving_a_letter_changes_the_id():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", "") != digest("", "a")
    assert digest("a") != digest("a", "")
    assert pair("ab", "c").pair_id != pair("a", "bc").pair_id


def test_ids_have_sixteen_bytes_and_never_change():
    assert len(pair().pair_id) == 16
    assert digest("ab", "c").hex() == "4826ed043ab3cdec576d8541fa5d5a80"
    assert pair("a", "b", "Hi").pair_id.hex() == "1e5daea881e84bfe1f09cc3733771978"


def test_a_turn_is_no_response():
    one = pair("x", "y", "q", "r", "s")
    other = pair("s", "x", "q", "r")
    assert one.pair_id != other.pair_id
    assert conversation_id(turns("q", "r", "s")) != conversation_id(turns("q", "r"))


@given(texts, texts, texts)
def test_a_flip_keeps_the_content_and_twice_is_identity(ask, chosen, rejected):
    one = pair(chosen, rejected, ask)
    flipped = one.flipped()
    assert flipped.content_id == one.content_id
    assert flipped.conversation_id == one.conversation_id
    assert (flipped.pair_id == one.pair_id) == (chosen == rejected)
    assert flipped.flipped() == one
    assert flipped.flipped().pair_id == one.pair_id


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_different_pairs_have_different_ids(one, other):
    (ask, chosen, rejected), (ask_2, chosen_2, rejected_2) = one, other
    same = pair(chosen, rejected, ask).pair_id == pair(chosen_2, rejected_2, ask_2).pair_id
    assert same == (one == other)


def test_roles_are_part_of_the_conversation():
    user = conversation_id([{"role": "user", "content": "Hi"}])
    assert user != conversation_id([{"role": "system", "content": "Hi"}])


def test_lone_surrogates_have_ids_of_their_own_but_cannot_be_stored():
    broken, other = pair("\ud800", "b"), pair("\ud801", "b")
    assert broken.pair_id != other.pair_id
    with pytest.raises(UnicodeEncodeError):
        pairs_to_table([broken])


def test_meta_source_and_origin_are_not_part_of_an_id():
    assert pair(meta={"n": 1}).pair_id == pair().pair_id


@given(texts, texts)
def test_a_canonical_verdict_survives_a_flip(chosen, rejected):
    if chosen != rejected:
        assert canonical_sign(chosen, rejected) == -canonical_sign(rejected, chosen)


@given(st.lists(st.tuples(printable, printable, printable, printable), max_size=5))
def test_pairs_come_back_from_a_table_unchanged(rows):
    pairs = [
        pair(chosen, rejected, ask, note, ask, meta={"note": note, "n": len(note)})
        for ask, chosen, rejected, note in rows
    ]
    table = pairs_to_table(pairs)
    assert table.schema.equals(PAIR_SCHEMA)
    assert list(table_to_pairs(table)) == pairs
    ids = table.column("pair_id").combine_chunks().storage.to_pylist()
    assert ids == [each.pair_id for each in pairs]


def test_the_first_user_turn_skips_the_system_turn():
    system = {"role": "system", "content": "Be kind."}
    assert first_user_turn([system, *turns("Hi", "Hello", "Bye")]) == "Hi"
    assert first_user_turn([system]) == ""


def test_ids_that_end_in_zero_bytes_survive_arrow_and_pandas(tmp_path):
    frame = pd.DataFrame({"pair_id": id_index(IDS), "label": np.array([1, -1, 0, 1], np.int8)})
    table = table_from_frame(frame)
    assert table.schema.field("pair_id").type == pa.uuid()
    assert table.schema.field("label").type == pa.int8()
    pq.write_table(table, tmp_path / "t.parquet")
    back = pq.read_table(tmp_path / "t.parquet")
    assert back.column("pair_id").combine_chunks().storage.to_pylist() == IDS
    assert id_array(IDS).storage.to_pylist() == IDS


def test_an_empty_frame_keeps_its_id_type():
    empty = pd.DataFrame({"pair_id": id_index([]), "reason": pd.Series([], dtype=object)})
    assert table_from_frame(empty).schema.field("pair_id").type == pa.uuid()


def test_is_among_finds_every_id_where_pandas_isin_loses_those_that_end_in_zero():
    ids = pd.Series(IDS, dtype=object)
    assert is_among(ids, IDS).all()
    assert is_among(ids, iter(IDS[:2])).tolist() == [True, True, False, False]
    assert is_among(ids, frozenset()).tolist() == [False] * 4
    # The trap itself. Once pandas is cured of it, `is_among` may go.
    assert ids.isin(IDS).tolist() == [False, False, True, False]


def test_id_index_finds_every_row_where_a_list_of_bytes_does_not():
    by_id = pd.Series([10, 20, 30, 40], index=id_index(IDS))
    assert by_id.loc[id_index(reversed(IDS))].tolist() == [40, 30, 20, 10]
    with pytest.raises(KeyError):
        by_id.loc[list(reversed(IDS))]


def _id_lookups(path):
    """Calls of `.isin(` and uses of `.loc[` in a module that may involve ids, as source lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "isin"
            and "_id" in ast.unparse(node)
        ):
            yield ast.unparse(node)
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "loc"
        ):
            first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            text = ast.unparse(first)
            if ("_id" in text or "ids" in text) and not text.startswith("id_index("):
                yield ast.unparse(node)


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ("frame['pair_id'].isin(known)", True),
        ("frame['reason'].isin(HUMAN)", False),
        ("frame.loc[other['pair_id']]", True),
        ("frame.loc[ids, 'label']", True),
        ("frame.loc[id_index(ids), 'label']", False),
        ("frame.loc[reason != '', ['pair_id']]", False),
    ],
)
def test_the_guard_below_tells_ids_from_other_columns(tmp_path, line, caught):
    (tmp_path / "m.py").write_text(line)
    assert bool(list(_id_lookups(tmp_path / "m.py"))) == caught


@pytest.mark.parametrize("package", ["assets", "curation", "resources", "sources", "synthetic"])
def test_nobody_looks_ids_up_with_pandas_isin_or_loc(package):
    found = [
        f"{path.name}: {line}"
        for path in sorted((PACKAGE / package).rglob("*.py"))
        for line in _id_lookups(path)
    ]
    assert found == []


def test_oriented_flips_what_is_wrong_and_leaves_out_what_has_no_label():
    right, wrong, unlabelled = pair("a", "b"), pair("c", "d"), pair("e", "f")
    found = oriented([right, wrong, unlabelled], {right.pair_id: 1, wrong.pair_id: -1})
    assert [(each.chosen, each.rejected) for each in found] == [("a", "b"), ("d", "c")]


def test_an_undecided_label_has_no_orientation():
    with pytest.raises(ValueError, match="1 labels are neither"):
        oriented([pair()], {pair().pair_id: 0})
