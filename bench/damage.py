"""What comparing shards with their hashes costs, against reading the same shards without it.

Both sides read all columns of every shard once, as a step does, from files that the system holds
in memory, where comparing weighs most. Shards of earlier versions have no quick hash and are
compared with the hash of their names. Sides take turns; figures are medians.
Run: python bench/damage.py [--repeats 15] [--shards 12]; into results/damage.json.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.storage import read_manifest, shard_uris, write_dataset
from synpref_dagster.storage.damage import _compared
from synpref_dagster.storage.dataset import read_shard
from synpref_dagster.storage.manifest import Shard

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "damage.json"
ROWS, WORDS, LIMIT = 5_000, 20_000, 1.1


def tables(num_shards: int) -> Iterator[pa.Table]:
    """Pairs of texts of 60 and twice 150 words, drawn from a Zipf-like vocabulary."""
    draw = Random(0)
    words = ["".join(draw.choices("etaoinshrdlucm", k=draw.randint(2, 9))) for _ in range(WORDS)]
    weights = [1 / (rank + 10) for rank in range(WORDS)]

    def texts(length: int) -> list[str]:
        drawn = draw.choices(words, weights, k=length * ROWS)
        return [" ".join(drawn[start : start + length]) for start in range(0, len(drawn), length)]

    for _ in range(num_shards):
        ids = [draw.randbytes(16) for _ in range(ROWS)]
        columns = {"prompt": texts(60), "chosen": texts(150), "rejected": texts(150)}
        yield pa.table({"pair_id": pa.array(ids, pa.binary(16)), **columns})


def seconds(work: Callable[[], object]) -> dict[str, float]:
    """CPU and wall seconds of a piece of work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
    }


def compare(name: str, uri: str, files: list[str], shards: list[Shard], repeats: int) -> Any:
    """The row of one kind of shards."""

    def bare() -> None:
        for file in files:
            pq.ParquetFile(file).read()

    def ours() -> None:
        _compared.clear()
        for shard in shards:
            read_shard(uri, shard)

    runs = [(seconds(ours), seconds(bare)) for _ in range(repeats + 1)][1:]
    found, baseline = (
        {key: median(run[side][key] for run in runs) for key in runs[0][side]} for side in (0, 1)
    )
    return {
        "name": f"reading_{name}_vs_without_comparing",
        "ours": found,
        "baseline": baseline,
        "ratio_cpu": found["cpu_seconds"] / baseline["cpu_seconds"],
        "ratio_wall": found["wall_seconds"] / baseline["wall_seconds"],
        "limit": LIMIT if name == "shards" else None,
        "megabytes": sum(shard.num_bytes for shard in shards) / 1e6,
        "exactness": "the same bytes are decoded",
        "repeats": repeats,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
    }


def main() -> None:
    """Both kinds of shards and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--shards", type=int, default=12)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as uri:
        ref = write_dataset(uri, tables(options.shards), step="bench")
        shards, files = list(read_manifest(ref).shards), shard_uris(ref)
        earlier = [replace(shard, check="") for shard in shards]
        for name, each in (("shards", shards), ("shards_of_earlier_versions", earlier)):
            row = compare(name, uri, files, each, options.repeats)
            rows.append(row)
            print(f"{row['name']}: {row['ratio_cpu']:.2f}x CPU, {row['ratio_wall']:.2f}x wall")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
