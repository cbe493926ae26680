"""Reviews of other assets reach the shards in which their pairs lie."""

import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.curation.pairs import PreferencePair, pairs_to_table, table_from_frame
from synpref_dagster.curation.pooling import screen_structure
from synpref_dagster.resources.clean_shards import (
    HITS,
    PERSONAL_DATA,
    review_screening,
    reviewed_shard,
)
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


def written(tmp_path, name, frame):
    ids = [pair.pair_id for pair in PAIRS]
    table = table_from_frame(frame.assign(pair_id=ids[: len(frame)]))
    return write_dataset(str(tmp_path / name), table, step="1")


def reasons(ref):
    table = read_table(ref)
    return list(
        zip(table["screen_reason"].to_pylist(), table["screen_detail"].to_pylist(), strict=True)
    )


def test_without_reviews_the_screening_stands_as_it_is(tmp_path, pool):
    assert review_screening(pool, {}, uri=str(tmp_path / "out"), drop_level=2) == pool


def test_a_cleared_pair_comes_back_and_personal_data_come_after_earlier_reasons(tmp_path, pool):
    levels = pd.DataFrame({"level": LEVELS, "kinds": "email"})
    cleared = pd.DataFrame({"cleared": [True]})
    reviews = {PERSONAL_DATA: written(tmp_path, "levels", levels)}
    found = review_screening(pool, reviews, uri=str(tmp_path / "a"), drop_level=1)
    broken = ("identical_responses", "")
    assert reasons(found) == [
        ("contaminated", None),
        ("pii", "level 1: email"),
        (None, None),
        broken,
    ]
    reviews[HITS] = written(tmp_path, "hits", cleared)
    found = review_screening(pool, reviews, uri=str(tmp_path / "b"), drop_level=2)
    assert reasons(found) == [("pii", "level 3: email"), (None, None), (None, None), broken]


def test_other_reviews_than_those_asked_for_are_refused(tmp_path, pool):
    ref = written(tmp_path, "levels", pd.DataFrame({"level": LEVELS, "kinds": "email"}))
    with pytest.raises(ValueError, match="others given"):
        reviewed_shard(
            read_table(pool),
            reviews={PERSONAL_DATA: "another"},
            drop_level=1,
            reviews_at={PERSONAL_DATA: ref},
        )
