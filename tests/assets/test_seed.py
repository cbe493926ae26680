"""The seed is picked from tables of a pool, which no frame of ids is made of."""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings, strategies as st

from synpref_dagster.assets.seed import seed_from_tables
from synpref_dagster.curation.verification.people import pick_seed
from synpref_dagster.pairs.record import id_array
from synpref_dagster.storage import to_frame

CATEGORIES = ["math", "other", "editing"]


def an_id(number, kind):
    return kind + number.to_bytes(2, "little") + b"\x00" * 13


def tables(contents):
    """A pool of pairs about some contents, and attributes in another order."""
    numbers = range(len(contents))
    pool = pa.table(
        {
            "pair_id": id_array([an_id(n, b"p") for n in numbers]),
            "content_id": id_array([an_id(n, b"c") for n in contents]),
            "conversation_id": id_array([an_id(n % 7, b"x") for n in contents]),
            "risky": pa.array([n % 5 == 0 for n in numbers], pa.bool_()),
        }
    )
    kinds = {"task_category": CATEGORIES, "objectivity": ["objective", "subjective"],
             "controversiality": ["low", "high"]}  # fmt: skip
    about = pa.table(
        {
            "pair_id": pool["pair_id"],
            **{
                name: pa.array([said[n % len(said)] for n in numbers], pa.string())
                for name, said in kinds.items()
            },
        }
    )
    return pool, about.take(pa.array(list(numbers)[::-1], pa.int64()))


@given(st.lists(st.integers(0, 40), max_size=60), st.sets(st.integers(0, 40)) | st.none())
@settings(max_examples=40, deadline=None)
def test_tables_give_the_seed_that_a_frame_of_all_pairs_gives(contents, can):
    pool, about = tables(contents)
    ids = None if can is None else {an_id(n, b"c") for n in can}

    def answerable(column):
        if ids is None:
            return None
        known = pa.array(list(ids), pa.binary(16))
        return np.asarray(pc.is_in(column.cast(known.type), value_set=known))

    pick = partial(pick_seed, num_gold=9, num_silver=11, seed=1, max_risky_share=0.3)
    frame = to_frame(pool).merge(to_frame(about), on="pair_id", validate="one_to_one")
    found = seed_from_tables(pool, about, answerable=answerable, pick=pick)
    expected = pick(frame, answerable=ids)
    assert found.to_dict("records") == expected.to_dict("records")
    assert list(found.columns) == list(expected.columns)
