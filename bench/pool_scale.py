"""Pool steps at 1M, 4M and 40M pairs: CPU seconds and peak memory of whole processes.

Filter: score columns in shards, against reading and writing the same columns, pandas, polars and
`datasets`. Index: exact deduplication, contradictions and cycles of new keys against known ones,
against reading both and writing the new. Cleaning: that and the selection, two nights, and pandas.
Every job is a process of its own, measured by what the system charges it, imports included.
Run: python bench/pool_scale.py [--pairs 1 4 40] [--folder /tmp]; into results/pool_scale.json.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pool_parts.clean_jobs import (
    clean_floor,
    clean_ours,
    clean_pandas,
    index_floor,
    index_ours,
    make_keys,
    note_known,
)

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "pool_scale.json"
SHARD_ROWS = 500_000
NUM_SOURCES, NUM_CATEGORIES = 32, 20
GUARD = {"max_confidence": 0.3, "recycle": "strict"}
SECOND_NIGHT = 0.01


def make_scores(folder: Path, num_pairs: int) -> None:
    """Shards of score columns: one latent margin per pair speaks through all witnesses."""
    import numpy as np
    import pyarrow as pa

    from synpref_dagster.curation.filtering.score_columns import LABEL_TYPE, SCORE_SCHEMA
    from synpref_dagster.storage import write_dataset

    def shards() -> Any:
        for start in range(0, num_pairs, SHARD_ROWS):
            rng = np.random.default_rng(start)
            n = min(SHARD_ROWS, num_pairs - start)
            source = np.minimum(rng.zipf(1.5, n), NUM_SOURCES) - 1
            latent = rng.normal(1.5 - source / 20, 1.5, n)
            best = (latent + rng.normal(0, 1, n)).astype(np.float32)
            gold = (latent + rng.normal(0, 1, n)).astype(np.float32)
            judge = np.sign(latent + rng.normal(0, 1, n)).astype(np.int8)
            judge[rng.random(n) < 0.04] = 0
            human = np.sign(latent).astype(np.int8)
            columns = [
                ids(rng, n),
                labels(source, "source", NUM_SOURCES, LABEL_TYPE),
                labels(rng.integers(0, NUM_CATEGORIES, n), "category", NUM_CATEGORIES, LABEL_TYPE),
                pa.array(best),
                pa.array(gold, mask=rng.random(n) < 2e-5),
                pa.array(judge, mask=best > 0),
                pa.array(human, mask=rng.random(n) > 8e-4),
            ]
            yield pa.Table.from_arrays(columns, schema=SCORE_SCHEMA)

    write_dataset(str(folder / "scores"), shards(), step="made", max_shard_rows=SHARD_ROWS)


def make_plain(folder: Path) -> None:
    """The same shards without UUID and dictionary types, which `datasets` cannot read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "plain").mkdir()
    for file in sorted((folder / "scores" / "shards").iterdir()):
        table = pq.ParquetFile(file).read()
        chunks = table["pair_id"].chunks
        columns = {
            "pair_id": pa.chunked_array([c.storage.cast(pa.binary()) for c in chunks]),
            **{name: table[name].cast(pa.string()) for name in ("source", "task_category")},
            **{name: table[name] for name in table.column_names[3:]},
        }
        pq.write_table(pa.table(columns), folder / "plain" / file.name, compression="zstd")


def ids(rng: Any, n: int) -> Any:
    """Random 128-bit ids as UUIDs."""
    import pyarrow as pa

    raw = pa.py_buffer(rng.bytes(16 * n))
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), n, [None, raw])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def labels(codes: Any, prefix: str, count: int, kind: Any) -> Any:
    """Dictionary-encoded names."""
    import pyarrow as pa

    names = pa.array([f"{prefix}_{place:02d}" for place in range(count)])
    return pa.DictionaryArray.from_arrays(pa.array(codes, kind.index_type), names)


def filter_floor(folder: Path, output: Path) -> Any:
    """Reads and writes the same columns, nothing else."""
    import pyarrow.parquet as pq

    output.mkdir()
    for file in sorted((folder / "scores" / "shards").iterdir()):
        columns = ["pair_id", "source", "task_category", "best_margin", "gold_margin"]
        table = pq.ParquetFile(file).read()
        pq.write_table(table.select([*columns, "judge_label", "human_label"]), output / file.name,
                       compression="zstd", row_group_size=125_000)  # fmt: skip
    return None


def filter_ours(folder: Path, output: Path) -> Any:
    """`map_shards` of `filter_shard`: finished shards are reused when it is run again."""
    from synpref_dagster.curation.filtering.score_columns import filter_shard, total_counts
    from synpref_dagster.storage import DatasetRef, map_shards, read_manifest, read_table
    from synpref_dagster.storage.manifest import make_ref

    uri = str(folder / "scores")
    scores: DatasetRef = make_ref(uri, read_manifest(uri))
    outputs = ["decisions", "counts"]
    mapped = map_shards(
        filter_shard, scores, uri=str(output), version="1", params=GUARD, outputs=outputs
    )
    totals = dict(total_counts(read_table(mapped.outputs["counts"])))
    assert sum(totals.values()) == scores.num_rows == mapped.outputs["decisions"].num_rows
    return totals


def filter_tool(folder: Path, output: Path) -> Any:
    """`synpref filter` on the same rows as one file; see `filter_tool.py`."""
    from synpref_dagster.tools.curating.deciding import decide

    output.mkdir()
    report = decide(folder / "scores.parquet", output / "decisions.parquet", **GUARD)
    return report.totals


def frame_rule(best: Any, gold: Any, judge: Any, human: Any) -> Any:
    """The rule on whole numpy columns, as one would write it first: 1 kept, -1 flipped, 0 not."""
    import numpy as np

    threshold = GUARD["max_confidence"]
    seen = ~np.isnan(human)
    with np.errstate(over="ignore"):
        sure = (1 / (1 + np.exp(-np.maximum(best, gold)))) < threshold
    kept = (gold > 0) & ((best > 0) | (judge > 0))
    flipped = (gold < 0) & (best < 0) & (judge < 0) & sure
    return np.where(seen, np.nan_to_num(human), np.where(kept, 1, np.where(flipped, -1, 0)))


def counted(decision: Any) -> dict[str, int]:
    """Totals by decision."""
    import numpy as np

    return {
        name: int(np.count_nonzero(decision == code))
        for name, code in (("kept", 1), ("flipped", -1), ("discarded", 0))
    }


def filter_pandas(folder: Path, output: Path) -> Any:
    """One frame."""
    import pandas as pd

    frame = pd.read_parquet(folder / "scores" / "shards", dtype_backend="numpy_nullable")
    names = ("best_margin", "gold_margin", "judge_label", "human_label")
    columns = [frame[name].to_numpy(dtype="float32", na_value=float("nan")) for name in names]
    frame["decision"] = frame_rule(*columns)
    frame.groupby(["source", "task_category", "decision"], observed=True).size()
    keep = ["source", "task_category", "best_margin", "gold_margin", "decision"]
    frame[keep].to_parquet(output, compression="zstd")
    return counted(frame["decision"].to_numpy())


def filter_polars(folder: Path, output: Path) -> Any:
    """One lazy query, streamed."""
    import polars as pl

    gold, best = pl.col("gold_margin"), pl.col("best_margin")
    judge, human = pl.col("judge_label").fill_null(0), pl.col("human_label")
    sure = 1 / (1 + (-pl.max_horizontal(best, gold)).exp()) < GUARD["max_confidence"]
    kept = ((gold > 0) & ((best > 0) | (judge > 0))).fill_null(False)
    flipped = ((gold < 0) & (best < 0) & (judge < 0) & sure).fill_null(False)
    decision = (
        pl.when(human.is_not_null()).then(human)
        .when(kept).then(1).when(flipped).then(-1).otherwise(0).cast(pl.Int8).alias("decision")
    )  # fmt: skip
    lazy = pl.scan_parquet(folder / "scores" / "shards" / "*.parquet")
    decided = lazy.select(
        "pair_id", "source", "task_category", "best_margin", "gold_margin", decision
    )
    decided.sink_parquet(output, compression="zstd")
    keys = ["source", "task_category", "decision"]
    counts = pl.scan_parquet(output).group_by(keys).len().collect()
    totals = dict(counts.group_by("decision").agg(pl.col("len").sum()).iter_rows())
    return {"kept": totals[1], "flipped": totals[-1], "discarded": totals[0]}


def filter_datasets(folder: Path, output: Path) -> Any:
    """`datasets.map` in batches, then `filter`."""
    import datasets
    import numpy as np

    files = sorted(map(str, (folder / "plain").iterdir()))
    rows = datasets.load_dataset("parquet", data_files=files, cache_dir=str(output), split="train")

    def decide(batch: Any) -> Any:
        names = ("best_margin", "gold_margin", "judge_label", "human_label")
        columns = [np.array(batch[name], dtype=np.float32) for name in names]
        return {"decision": frame_rule(*columns)}

    decided = rows.map(decide, batched=True, remove_columns=["judge_label", "human_label"])
    kept = decided.filter(lambda batch: [one == 1 for one in batch["decision"]], batched=True)
    totals = counted(np.array(decided["decision"]))
    assert len(kept) == totals["kept"]
    return totals


def filter_datasets_by_row(folder: Path, output: Path) -> Any:
    """`datasets.map` row by row, as its examples show it, then `filter`."""
    import datasets
    import numpy as np

    files = sorted(map(str, (folder / "plain").iterdir()))
    rows = datasets.load_dataset("parquet", data_files=files, cache_dir=str(output), split="train")
    names = ("best_margin", "gold_margin", "judge_label", "human_label")

    def decide(one: Any) -> Any:
        columns = [np.float32("nan" if one[name] is None else one[name]) for name in names]
        return {"decision": int(frame_rule(*columns))}

    decided = rows.map(decide, remove_columns=["judge_label", "human_label"])
    kept = decided.filter(lambda one: one["decision"] == 1)
    totals = counted(np.array(decided["decision"]))
    assert len(kept) == totals["kept"]
    return totals


def make_texts(folder: Path, num_pairs: int) -> None:
    """JSON lines with a prompt and two responses of 2.2 KB each, one line in a thousand broken.

    Texts are drawn from some thousands and made different by a number: making 20 GB of random
    words would take longer than all that is measured.
    """
    import random

    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 11)))
             for _ in range(20_000)]  # fmt: skip
    texts = [" ".join(rng.choices(words, k=290)) for _ in range(5_000)]
    folder.mkdir(parents=True)
    with (folder / "rows.jsonl").open("w") as file:
        for place in range(num_pairs):
            if place % 1_000 == 999:
                file.write('{"prompt": "broken\n')
                continue
            prompt, chosen, rejected = rng.choices(texts, k=3)
            pair = {"prompt": f"{place} {prompt}", "chosen": f"a{place} {chosen}",
                    "rejected": f"b{place} {rejected}"}  # fmt: skip
            file.write(json.dumps(pair) + "\n")


def read_floor(folder: Path, output: Path) -> Any:
    """`json.loads` of every line, nothing else."""
    rows = 0
    with (folder / "rows.jsonl").open() as file:
        for line in file:
            with contextlib.suppress(ValueError):
                json.loads(line)
            rows += 1
    return {"rows": rows}


def read_ours(folder: Path, output: Path) -> Any:
    """Reading, structural check, the three hashes of every pair, and shards of Parquet."""
    from functools import partial

    import pyarrow as pa

    from synpref_dagster.sources.shards import read_file
    from synpref_dagster.storage import build_dataset, map_shards

    about = {"name": "texts", "origin": "synthetic"}
    row = pa.Table.from_pylist([{"spec": json.dumps(about), "key": "rows", "named": ""}])
    files = build_dataset(str(output / "files"), step="rows", compute=lambda: row)
    read = map_shards(
        partial(read_file, paths={"rows": str(folder / "rows.jsonl")}),
        files,
        uri=str(output / "pool"),
        version="1",
        params={"seed": 0},
        outputs=["kept", "dropped", "counts", "votes"],
    )
    return {"rows": sum(read.outputs[name].num_rows for name in ("kept", "dropped"))}


JOBS: dict[str, Callable[[Path, Path], Any]] = {
    job.__name__: job
    for job in (filter_floor, filter_ours, filter_tool, filter_pandas, filter_polars,
                filter_datasets, filter_datasets_by_row,
                index_floor, index_ours, clean_floor, clean_ours, clean_pandas,
                read_floor, read_ours)
}  # fmt: skip


def peak_gb() -> float:
    """Peak memory of this process, by its own account.

    What `wait4` says of a process is never below the peak of the one that started it.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20


def measure(job: str, folder: Path, output: Path) -> dict[str, Any]:
    """Runs one job in a process: what it gave, CPU and wall seconds, peak memory in GB."""
    command = [sys.executable, __file__, "--job", job, "--folder", str(folder), "--to", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    wall = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{job} failed with {process.returncode}")
    told = json.loads(text.strip().splitlines()[-1])
    found = {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.perf_counter() - wall,
        **told,
    }
    print(f"{job} {folder.name}: {found['cpu_seconds']:.2f} s CPU, {found['wall_seconds']:.2f} s, "
          f"{found['peak_gb']:.2f} GB, {found['result']}", flush=True)  # fmt: skip
    return found


def row(name: str, ours: Any, baseline: Any) -> dict[str, Any]:
    """One row of results; a ratio above 1 means that ours costs more."""
    results = (ours["result"], baseline["result"])
    known = None not in results
    return {
        "name": name,
        "ours": ours,
        "baseline": baseline,
        "ratio_cpu": ours["cpu_seconds"] / baseline["cpu_seconds"],
        "ratio_wall": ours["wall_seconds"] / baseline["wall_seconds"],
        "exactness": ("identical" if results[0] == results[1] else "DIFFERENT") if known else "",
        "repeats": 1,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
    }


def filter_rows(work: Path, millions: int) -> list[dict[str, Any]]:
    """Ours against everything that this size allows, and ours again with nothing new."""
    folder = work / f"filter_{millions}M"
    make_scores(folder, millions * 1_000_000)
    outputs = {name: work / f"{name}_out" for name in JOBS}
    ours = measure("filter_ours", folder, outputs["filter_ours"])
    rows = []
    again = measure("filter_ours", folder, outputs["filter_ours"])
    rows.append(row(f"filter_{millions}M_again_vs_first_run", again, ours))
    others = ["filter_floor", "filter_polars"]
    others += ["filter_pandas"] if millions <= 4 else []
    others += ["filter_datasets", "filter_datasets_by_row"] if millions <= 1 else []
    if millions <= 1:
        make_plain(folder)
    for other in others:
        rows.append(row(f"filter_{millions}M_vs_{other.removeprefix('filter_')}", ours,
                        measure(other, folder, outputs[other])))  # fmt: skip
        remove(outputs[other])
    remove(folder, *outputs.values())
    return rows


def index_rows(work: Path, new: int, known: int) -> list[dict[str, Any]]:
    """New keys against known ones that are in the index already; 15% repeat an earlier pair."""
    folder, output = work / f"index_{new}M_{known}M", work / "index_out"
    make_keys(folder, known * 1_000_000, copies_only=True)
    measure("index_ours", folder, output)
    note_known(folder)
    make_keys(folder, (known + new) * 1_000_000, copies_only=True)
    ours = measure("index_ours", folder, output)
    remove(output)
    floor = measure("index_floor", folder, output)
    remove(output, folder)
    return [row(f"index_{new}M_new_{known}M_known_vs_read_and_write", ours, floor)]


def clean_rows(work: Path, millions: int) -> list[dict[str, Any]]:
    """A screened pool cleaned, then again with new shards at its end."""
    folder, output = work / f"clean_{millions}M", work / "clean_out"
    num_pairs = millions * 1_000_000
    make_keys(folder, num_pairs)
    others = {}
    for other in ["clean_floor", *(["clean_pandas"] if millions <= 4 else [])]:
        others[other] = measure(other, folder, output)
        remove(output)
    ours = measure("clean_ours", folder, output)
    make_keys(folder, int(num_pairs * (1 + SECOND_NIGHT)))
    second = measure("clean_ours", folder, output)
    remove(folder, output)
    return [
        row(f"clean_{millions}M_vs_read_and_write", ours, others.pop("clean_floor")),
        *(row(f"clean_{millions}M_vs_pandas", ours, other) for other in others.values()),
        {**row(f"clean_{millions}M_second_night_vs_first", second, ours), "exactness": ""},
    ]


def read_rows(work: Path, thousands: int) -> list[dict[str, Any]]:
    """Reading JSON lines of real length."""
    folder, output = work / f"read_{thousands}K", work / "read_out"
    make_texts(folder, thousands * 1_000)
    rows = [row(f"read_{thousands}K_vs_json_loads", measure("read_ours", folder, output),
                measure("read_floor", folder, output))]  # fmt: skip
    remove(folder, output)
    return rows


def remove(*paths: Path) -> None:
    """Deletes files and folders that are there."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def main() -> None:
    """Runs one job, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="*", default=[1, 4, 40], help="millions")
    parser.add_argument("--texts", type=int, nargs="*", default=[100, 1_000], help="thousands")
    parser.add_argument("--only", choices=["filter", "index", "clean", "read"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--job", choices=list(JOBS))
    parser.add_argument("--to", type=Path)
    arguments = parser.parse_args()
    if arguments.job:
        result = JOBS[arguments.job](arguments.folder, arguments.to)
        print(json.dumps({"peak_gb": peak_gb(), "result": result}))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        rows = []
        for millions in arguments.pairs:
            if arguments.only in (None, "filter"):
                rows += filter_rows(Path(name), millions)
            if arguments.only in (None, "index") and millions > 1:
                rows += index_rows(Path(name), millions, millions)
            if arguments.only in (None, "clean"):
                rows += clean_rows(Path(name), millions)
        for thousands in arguments.texts if arguments.only in (None, "read") else ():
            rows += read_rows(Path(name), thousands)
        if arguments.only in (None, "index") and max(arguments.pairs) > 4:
            rows += index_rows(Path(name), 4, max(arguments.pairs))
    for one in rows:
        print(f"{one['name']}: {one['ratio_cpu']:.2f}x CPU, {one['exactness']}")
    previous = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    new_names = {one["name"] for one in rows}
    rows = [one for one in previous if one["name"] not in new_names] + rows
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
