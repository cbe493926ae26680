"""Labels of contents: the twin of a labelled pair has the opposite label."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.curation.filtering.content_labels import (
    LABELLED_SCHEMA,
    ContentLabels,
    labelled_contents,
    labels_in_pool,
)
from synpref_dagster.pairs.record import ID_BYTES, id_array, id_index


def ids(*numbers: int) -> pa.ExtensionArray:
    """Ids that end in a zero byte, which NumPy strings would lose."""
    return id_array([number.to_bytes(ID_BYTES - 1, "big") + b"\0" for number in numbers])


def labelled(rows: list[tuple[int, int, int]]) -> ContentLabels:
    """Labels from (content, pair, label)."""
    contents, pairs, labels = zip(*rows, strict=True) if rows else ((), (), ())
    columns = [ids(*contents), ids(*pairs), pa.array(labels, pa.int8())]
    return ContentLabels.from_table(pa.Table.from_arrays(columns, schema=LABELLED_SCHEMA))


def look_up(known: ContentLabels, pairs: list[tuple[int, int]]) -> list[tuple[int, bool]]:
    """(label, known) for pairs given as (content, pair)."""
    table = pa.table(
        {"content_id": ids(*(c for c, _ in pairs)), "pair_id": ids(*(p for _, p in pairs))}
    )
    label, found = known.of(table)
    return list(zip(label.tolist(), found.tolist(), strict=True))


def test_a_label_holds_for_the_pair_and_turned_around_for_its_twin() -> None:
    known = labelled([(7, 70, 1), (5, 50, -1), (9, 90, 0)])
    pairs = [(5, 50), (5, 51), (7, 70), (7, 71), (9, 90), (8, 80), (100, 1)]
    expected = [(-1, True), (1, True), (1, True), (-1, True), (0, True), (0, False), (0, False)]
    assert look_up(known, pairs) == expected


def test_without_labels_nothing_is_known() -> None:
    assert look_up(labelled([]), [(1, 1)]) == [(0, False)]


def test_a_content_labelled_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="1 contents are labelled twice"):
        labelled([(1, 10, 1), (1, 11, 1)])


def test_many_random_labels_are_found_as_a_dictionary_finds_them() -> None:
    rng = np.random.default_rng(0)
    contents = rng.permutation(500)[:300]
    rows = [
        (int(c), int(c) * 2 + int(rng.integers(2)), int(rng.choice([-1, 0, 1]))) for c in contents
    ]
    by_content = {content: (pair, label) for content, pair, label in rows}
    pairs = [(content, content * 2 + twin) for content in range(500) for twin in (0, 1)]
    expected = []
    for content, pair in pairs:
        about, label = by_content.get(content, (None, 0))
        expected.append((label if about == pair else -label, content in by_content))
    assert look_up(labelled(rows), pairs) == expected


def test_decided_labels_stand_with_their_contents_and_undecided_ones_are_left_out() -> None:
    targets = pa.table({"pair_id": ids(3, 1, 2, 9), "content_id": ids(30, 10, 20, 90)})
    targets = targets.append_column("gold", pa.array([False, False, False, True]))
    labels = pa.table({"pair_id": ids(1, 2, 3), "label": pa.array([1, 0, -1], pa.int8())})
    found = labelled_contents(labels, targets)
    assert found.schema.equals(LABELLED_SCHEMA)
    assert found["pair_id"].combine_chunks() == ids(1, 3)
    assert found["content_id"].combine_chunks() == ids(10, 30)
    assert found["label"].to_pylist() == [1, -1]
    assert labelled_contents(labels.slice(0, 0), targets).num_rows == 0


def test_a_label_that_nobody_asked_for_is_an_error() -> None:
    targets = pa.table({"pair_id": ids(1, 9), "content_id": ids(10, 90)})
    targets = targets.append_column("gold", pa.array([False, True]))
    labels = pa.table({"pair_id": ids(1, 9), "label": pa.array([1, 1], pa.int8())})
    with pytest.raises(ValueError, match="1 of 2 labels are about pairs that nobody asked about"):
        labelled_contents(labels, targets)


def by_ids(*rows: tuple[int, int]) -> pd.DataFrame:
    """(content, pair) numbers."""
    contents, pairs = zip(*rows, strict=True) if rows else ((), ())
    columns = {"content_id": contents, "pair_id": pairs}
    return pd.DataFrame(
        {
            name: id_index((n.to_bytes(ID_BYTES - 1, "big") + b"\0") for n in numbers)
            for name, numbers in columns.items()
        }
    )


def test_labels_follow_their_content_through_turned_and_erased_pairs() -> None:
    labels = by_ids((1, 10), (2, 20), (3, 30), (4, 40)).assign(
        label=np.array([1, -1, 1, -1], dtype=np.int8), split="train"
    )
    # 1 stands as it did, 2 turned, 3 was erased, 4 is there under both labels.
    pool = by_ids((4, 41), (2, 21), (4, 40), (1, 10), (9, 90))
    found = labels_in_pool(labels, pool)
    assert found[["content_id", "pair_id"]].equals(by_ids((1, 10), (2, 21), (4, 40)))
    assert found["label"].tolist() == [1, 1, -1]
    assert found["label"].dtype == np.int8
    assert found["split"].tolist() == ["train"] * 3
    assert labels_in_pool(found, pool).equals(found)
    assert labels_in_pool(labels, by_ids()).empty
