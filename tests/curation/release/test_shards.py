"""Rows of the export are made of columns, and are what they are pair by pair."""

import pandas as pd
import pyarrow as pa
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.release.shards import EXPORT_SCHEMA, export_table
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table

TEXT = st.sampled_from(["", "Apple.", "Stein \u00e4\U0001f34f", "two\nlines", "b" * 50])
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXT}),
    max_size=3,
)
ROW = st.tuples(
    TURNS, TEXT, TEXT, st.sampled_from([1, -1]), st.sampled_from(["gold", "filtered"]),
    st.sampled_from(["train", "validation"]),
)  # fmt: skip


def by_pair(pair, label, tier, split):
    turned = pair if label > 0 else pair.flipped()
    return {
        "prompt": list(turned.conversation),
        "chosen": [{"role": "assistant", "content": turned.chosen}],
        "rejected": [{"role": "assistant", "content": turned.rejected}],
        "pair_id": turned.pair_id.hex(),
        "source": turned.source,
        "tier": tier,
        "flipped": label < 0,
        "split": split,
    }


@given(st.lists(ROW, max_size=8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_pair_has_the_row_that_it_has_alone(rows, start):
    pairs = [
        PreferencePair(
            conversation=tuple(turns), chosen=a, rejected=b, source=f"s{n % 2}", origin="human"
        )
        for n, (turns, a, b, *_) in enumerate(rows)
    ]
    about = [row[3:] for row in rows][start:]
    frame = pd.DataFrame(about, columns=["label", "tier", "split"])
    # A slice: shards of the pool may be one of something larger.
    table = export_table(pairs_to_table(pairs).slice(start), frame)
    expected = [by_pair(pair, *each) for pair, each in zip(pairs[start:], about, strict=True)]
    assert table.equals(pa.Table.from_pylist(expected, schema=EXPORT_SCHEMA))
