"""Shard functions that worker processes of the tests can import, and a run that gets killed."""

import os
import sys
import time

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.storage import (
    InProcessExecutor,
    ProcessPoolShardExecutor,
    build_dataset,
    map_shards,
)

NUM_SHARDS = 8
HELD_FROM = "HELD_FROM"  # number of the first shard that is never finished
ROWS = 5


def numbers(num_shards=NUM_SHARDS):
    """Shards of five consecutive numbers each."""
    for shard in range(num_shards):
        yield pa.table({"n": pa.array(range(shard * ROWS, (shard + 1) * ROWS), pa.int64())})


def double(table, *, seconds=0.0):
    """One output: every number doubled; in a run that is to be killed, never the last shards."""
    if os.environ.get(HELD_FROM) and table["n"][0].as_py() >= int(os.environ[HELD_FROM]) * ROWS:
        time.sleep(600)
    time.sleep(seconds)
    return pa.table({"n": pc.multiply(table["n"], 2)})


def split_even(table, *, modulus):
    """Two outputs: multiples of the modulus, and the rest with a reason."""
    is_multiple = pc.equal(pc.subtract(table["n"], pc.multiply(_floor(table, modulus), modulus)), 0)
    dropped = table.filter(pc.invert(is_multiple))
    reasons = pa.array(["no_multiple"] * dropped.num_rows, pa.string())
    return {"kept": table.filter(is_multiple), "dropped": dropped.append_column("reason", reasons)}


def multiples(table, *beside, variants):
    """One table per variant: every number (of the last table) times its factor."""
    numbers = (table, *beside)[-1]["n"]
    return {
        name: pa.table({"n": pc.multiply(numbers, params["factor"])})
        for name, params in variants.items()
    }


def add_numbers(table, other):
    """Sums of the numbers of two tables, row by row."""
    pairs = zip(table["n"].to_pylist(), other["n"].to_pylist(), strict=True)
    return pa.table({"n": [a + b for a, b in pairs]})


def fail_at_seventeen(table):
    """Fails on the shard that holds 17."""
    if 17 in table["n"].to_pylist():
        raise ArithmeticError("seventeen")
    return table


def sometimes_text(table):
    """Another schema for the first shard than for the others."""
    return table if 0 in table["n"].to_pylist() else table.cast(pa.schema([("n", pa.string())]))


def _floor(table, modulus):
    return pc.divide(table["n"], modulus)


def build_numbers(uri, num_shards=NUM_SHARDS):
    """The input data set of the tests."""
    return build_dataset(uri, step=f"numbers-{num_shards}", compute=lambda: numbers(num_shards))


def main(uri, executor):
    """Maps and says so for every shard; meant to be killed where it is held up."""
    map_shards(
        double,
        build_numbers(f"{uri}/in"),
        uri=f"{uri}/out",
        version="1",
        executor=InProcessExecutor() if executor == "process" else ProcessPoolShardExecutor(2),
        on_progress=lambda done, total: print(done, total, flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
