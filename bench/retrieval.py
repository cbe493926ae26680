"""Nearest vectors: the index above `EXACT_LIMIT` against the exact search, and how many it finds.

Vectors are made as the embedder makes them: 128 directions, unit length, in clusters (tasks) of
uneven size. Every job is a process of its own; CPU seconds are those of the search alone.
Run: python bench/retrieval.py [--vectors 400000]; into results/retrieval.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "retrieval.json"
DIM, NUM_CLUSTERS, SPREAD = 128, 2_000, 0.6
NUM_QUERIES, DEPTH = 20_000, 64


def make_vectors(num: int, *, seed: int) -> np.ndarray:
    """float32 (num, 128), rows of length 1, around shared centres of uneven popularity."""
    centres = np.random.default_rng(0).normal(size=(NUM_CLUSTERS, DIM)).astype(np.float32)
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, NUM_CLUSTERS + 1) ** 0.7
    cluster = rng.choice(NUM_CLUSTERS, num, p=share / share.sum())
    vectors = centres[cluster] + SPREAD * rng.normal(size=(num, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def search(kind: str, num_vectors: int, target: Path) -> dict[str, float]:
    """Searches one way and saves what was found."""
    from synpref_dagster.curation.retrieval.vector_index import nearest_at_scale

    queries, vectors = make_vectors(NUM_QUERIES, seed=1), make_vectors(num_vectors, seed=2)
    limit = len(vectors) if kind == "exact" else 0
    cpu, wall = time.process_time(), time.perf_counter()
    found, _ = nearest_at_scale(queries, vectors, k=DEPTH, forbidden=None, exact_limit=limit)
    seconds = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    np.save(target, found)
    return seconds


def measure(kind: str, num_vectors: int, folder: Path) -> tuple[dict[str, Any], np.ndarray]:
    """One search in a process of its own: seconds, peak memory, and the indices found."""
    target = folder / f"{kind}.npy"
    command = [sys.executable, __file__, "--job", kind, "--vectors", str(num_vectors)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "--to", str(target)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{kind} failed with {process.returncode}")
    return {**json.loads(text), "peak_gb": usage.ru_maxrss / 2**20}, np.load(target)


def main() -> None:
    """Both searches, their ratio and the recall."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, nargs="*", default=[400_000])
    parser.add_argument("--job", choices=["exact", "index"])
    parser.add_argument("--to", type=Path)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(search(arguments.job, arguments.vectors[0], arguments.to)))
        return
    from tempfile import TemporaryDirectory

    from synpref_dagster.curation.retrieval.vector_index import recall

    rows = []
    for num in arguments.vectors:
        with TemporaryDirectory() as folder:
            exact, exactly = measure("exact", num, Path(folder))
            ours, found = measure("index", num, Path(folder))
        rows.append(
            {
                "name": f"index_vs_exact_{num // 1000}K_vectors_{NUM_QUERIES}_queries",
                "ours": ours,
                "baseline": exact,
                "ratio_cpu": ours["cpu_seconds"] / exact["cpu_seconds"],
                "ratio_wall": ours["wall_seconds"] / exact["wall_seconds"],
                "exactness": f"recall {recall(found, exactly):.4f} of the {DEPTH} nearest, "
                f"{recall(found[:, :8], exactly[:, :8]):.4f} of the 8 nearest",
                "repeats": 1,
                "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
            }
        )
        print(rows[-1]["name"], f"{rows[-1]['ratio_cpu']:.2f}x CPU,", rows[-1]["exactness"])
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
