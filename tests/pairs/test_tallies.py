"""Counting rows shard by shard is counting them all."""

import pyarrow as pa

from synpref_dagster.pairs.tallies import tally


def table(*rows):
    schema = pa.schema([("source", pa.string()), ("level", pa.int8()), ("other", pa.int64())])
    columns = list(zip(*rows, strict=True)) if rows else ((), (), ())
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def test_counts_of_shards_add_up_in_order_of_first_appearance():
    shards = [
        table(("b", 1, 0), ("a", 1, 1), ("b", 1, 2)),
        table(),
        table(("a", 1, 3), ("a", 2, 4)),
    ]
    found = tally(shards, ["source", "level"], count="num_rows")
    assert found.to_dict("list") == {
        "source": ["b", "a", "a"],
        "level": [1, 1, 2],
        "num_rows": [2, 2, 1],
    }


def test_no_rows_are_no_kinds():
    found = tally([table()], ["source"], count="num_pairs")
    assert (list(found.columns), len(found)) == (["source", "num_pairs"], 0)
