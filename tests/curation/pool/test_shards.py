"""Reviews of other assets reach the shards in which their pairs lie."""

from itertools import pairwise

import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.curation.pool.screening import screen_structure
from synpref_dagster.curation.pool.shards import revise_screening
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table, table_from_frame
from synpref_dagster.storage import read_table, write_dataset

PAIRS = [
    PreferencePair(
        conversation=({"role": "user", "content": f"question {number}"},),
        chosen="yes",
        rejected="no" if number < 3 else "yes",
        source="s",
        origin="human",
    )
    for number in range(4)
]
LEVELS = [3, 1, 0, 3]


@pytest.fixture
def pool(tmp_path):
    """Two screened shards: a hit, two sound pairs and one that compares a response with itself."""
    screened = screen_structure(pairs_to_table(PAIRS))
    place = screened.schema.get_field_index("screen_reason")
    reasons = ["contaminated", *screened["screen_reason"].to_pylist()[1:]]
    screened = screened.set_column(place, "screen_reason", pa.array(reasons, pa.string()))
    return write_dataset(str(tmp_path / "pool"), [screened[:2], screened[2:]], step="1")


def written(tmp_path, name, frame, *ends):
    """The frame as a data set about the first pairs, its shards ending at some rows."""
    ids = [pair.pair_id for pair in PAIRS]
    table = table_from_frame(frame.assign(pair_id=ids[: len(frame)]))
    parts = [table[start:end] for start, end in pairwise([0, *ends, len(frame)])]
    return write_dataset(str(tmp_path / name), parts, step="1")


def reasons(ref):
    table = read_table(ref)
    return list(
        zip(table["screen_reason"].to_pylist(), table["screen_detail"].to_pylist(), strict=True)
    )


def review(pool, uri, *, hits=None, personal_data=None, drop_level=2):
    return revise_screening(
        pool, hits=hits, personal_data=personal_data, uri=str(uri), drop_level=drop_level
    )


def test_without_rechecks_the_screening_stands_as_it_is(tmp_path, pool):
    assert review(pool, tmp_path / "out") == pool


def test_a_cleared_pair_comes_back_and_personal_data_come_after_earlier_reasons(tmp_path, pool):
    frame = pd.DataFrame({"level": LEVELS, "kinds": "email"})
    levels = written(tmp_path, "levels", frame, 2)
    found = review(pool, tmp_path / "a", personal_data=levels, drop_level=1)
    broken = ("identical_responses", "")
    assert reasons(found) == [
        ("contaminated", None),
        ("pii", "level 1: email"),
        (None, None),
        broken,
    ]
    hits = written(tmp_path, "hits", pd.DataFrame({"cleared": [True]}))
    found = review(pool, tmp_path / "b", hits=hits, personal_data=levels)
    assert reasons(found) == [("pii", "level 3: email"), (None, None), (None, None), broken]
    found = review(pool, tmp_path / "c", hits=hits)
    assert reasons(found) == [(None, None), (None, None), (None, None), broken]
