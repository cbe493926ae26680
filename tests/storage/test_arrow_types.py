"""Ids and floats are written plainly, repeated values with a dictionary."""

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.pairs.record import PreferencePair, pairs_to_table
from synpref_dagster.storage import read_table, shard_uris, write_dataset


def test_only_columns_that_repeat_have_a_dictionary(tmp_path):
    pair = PreferencePair(
        conversation=({"role": "user", "content": "Hi"},),
        chosen="a",
        rejected="b",
        source="demo",
        origin="human",
    )
    table = pairs_to_table([pair] * 5).append_column("margin", pa.array([0.5] * 5, pa.float32()))
    ref = write_dataset(str(tmp_path), table, step="s1")
    [uri] = shard_uris(ref)
    group = pq.read_metadata(uri).row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    encodings = {one.path_in_schema: one.encodings for one in columns}
    plain = {path for path, used in encodings.items() if "RLE_DICTIONARY" not in used}
    assert plain == {"pair_id", "content_id", "conversation_id", "margin"}
    assert "conversation.list.element.role" in encodings
    assert read_table(ref).equals(table)
