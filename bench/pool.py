"""Cost of the pool steps against what one would write first: CPU seconds, then wall seconds.

Decontamination is compared with a Python set of 13-gram tuples (`isdisjoint(zip(...))`) on the
same texts, made ones and the real ones of SYNPREF_REAL_DATA where that is present; deduplication
with pandas on the same Arrow column of ids. Both sides must give the same result, else the row
says so. Run: python bench/pool.py
"""

import argparse
import gzip
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from synpref_dagster.curation.contamination.rules import (
    BenchmarkPrompt,
    build_index,
    find_by_index,
)
from synpref_dagster.curation.pool.cleaning import first_copies

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "pool.json"
WORD = re.compile(r"\b\w\w+\b")
N = 13
REPEATS = 3


def machine() -> str:
    """Processor and number of cores, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")
    return (
        f"{model or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )


def made_texts(rng: np.random.Generator, *, count: int, num_words: int, unicode: bool) -> list[str]:
    """Texts of Zipf-distributed words with punctuation, in English-like lengths."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    sizes = rng.integers(1, 12, 50_000)
    vocabulary = ["".join(letters[i] for i in rng.integers(0, 26, size)) for size in sizes]
    if unicode:
        accents = "éüßñçøåžΣİ中"
        vocabulary = [
            word[:-1] + accents[place % len(accents)] if place % 5 == 0 else word
            for place, word in enumerate(vocabulary)
        ]
    ranks = np.minimum(rng.zipf(1.3, (count, num_words)), len(vocabulary)) - 1
    ends = np.array([" ", " ", " ", " ", ", ", ". ", "’s " if unicode else "'s ", "\n"])
    joints = ends[rng.integers(0, len(ends), (count, num_words))]
    return [
        "".join(
            vocabulary[rank] + joint for rank, joint in zip(row, gaps, strict=True)
        ).capitalize()
        for row, gaps in zip(ranks, joints, strict=True)
    ]


def planted(
    rng: np.random.Generator, texts: list[str], prompts: list[str], count: int
) -> list[str]:
    """The texts, `count` of them holding 20 consecutive words of a prompt."""
    texts = list(texts)
    for place in rng.choice(len(texts), count, replace=False):
        words = prompts[rng.integers(len(prompts))].split()
        start = rng.integers(len(words) - 20)
        texts[place] = f"{texts[place]} {' '.join(words[start : start + 20])} {texts[place - 1]}"
    return texts


def tuple_grams(text: str) -> Any:
    """13-gram tuples of a text."""
    words = WORD.findall(text.lower())
    return zip(*(words[start:] for start in range(N)), strict=False)


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """(result, CPU seconds, wall seconds)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def compare(name: str, ours: Callable[[], Any], baseline: Callable[[], Any]) -> dict[str, Any]:
    """One row: medians of interleaved repeats, and whether both gave the same result."""
    timings: dict[str, list[tuple[float, float]]] = {"ours": [], "baseline": []}
    same = True
    for _ in range(REPEATS):
        first, *seconds = timed(ours)
        timings["ours"].append((seconds[0], seconds[1]))
        second, *seconds = timed(baseline)
        timings["baseline"].append((seconds[0], seconds[1]))
        same &= bool(np.array_equal(first, second))
    median = {
        side: [statistics.median(values) for values in zip(*rows, strict=True)]
        for side, rows in timings.items()
    }
    row = {
        "name": name,
        "ours": {"cpu_seconds": median["ours"][0], "wall_seconds": median["ours"][1]},
        "baseline": {"cpu_seconds": median["baseline"][0], "wall_seconds": median["baseline"][1]},
        "ratio_cpu": median["baseline"][0] / median["ours"][0],
        "ratio_wall": median["baseline"][1] / median["ours"][1],
        "exactness": "identical" if same else "DIFFERENT",
        "repeats": REPEATS,
        "machine": machine(),
    }
    print(
        f"{name}: {row['ratio_cpu']:.2f}x CPU, {row['ratio_wall']:.2f}x wall, "
        f"{row['exactness']} (ours {median['ours'][0]:.3f} s, "
        f"baseline {median['baseline'][0]:.3f} s)"
    )
    return row


def decontamination_row(kind: str, prompts: list[str], texts: list[str]) -> dict[str, Any]:
    """Search of the texts in an index that is already built, word rule against word rule."""
    named = [BenchmarkPrompt("b", str(place), text) for place, text in enumerate(prompts)]
    index, cpu, _ = timed(lambda: build_index(named))
    known = set().union(*map(tuple_grams, prompts))

    def ours() -> list[bool]:
        [found] = find_by_index([index], texts)
        hits = map(found.get, range(len(texts)))
        return [one is not None and one.rule == "word_gram" for one in hits]

    def baseline() -> list[bool]:
        return [not known.isdisjoint(tuple_grams(text)) for text in texts]

    ours()  # The first batch outside ASCII builds the table of all code points.
    size = sum(map(len, texts)) / 1e6
    print(f"index of {len(index.word_index):,} grams: {cpu:.2f} s CPU")
    print(f"{sum(baseline())} of {len(texts):,} {kind} texts hit, {size:.1f} million characters")
    return compare(f"decontamination_vs_tuple_set_{kind}", ours, baseline)


def made_row(kind: str, *, num_prompts: int, num_texts: int) -> dict[str, Any]:
    """Prompts of 80 words against texts of 290 words, one text in a hundred contaminated."""
    rng = np.random.default_rng(0)
    prompts = made_texts(rng, count=num_prompts, num_words=80, unicode=kind == "unicode")
    texts = made_texts(rng, count=num_texts, num_words=290, unicode=kind == "unicode")
    return decontamination_row(kind, prompts, planted(rng, texts, prompts, num_texts // 100))


def real_row(folder: Path) -> dict[str, Any]:
    """RM-Bench prompts against harmlessness transcripts, arguments and PandaLM instructions."""
    prompts = [
        item["prompt"]
        for name in ("chat", "safety-response")
        for item in json.loads(read_gzip(folder / "rm_bench" / f"{name}_filtered.json.gz"))
    ]
    harmless = folder / "hh_rlhf_harmless_base_test" / "harmless-base" / "test.jsonl.gz"
    texts = []
    for line in read_gzip(harmless).strip().split("\n"):
        row = json.loads(line)
        texts += [row["chosen"], row["rejected"]]
    for line in (
        read_gzip(folder / "ukp_convincing_arguments" / "pairs.jsonl.gz").strip().split("\n")
    ):
        row = json.loads(line)
        texts += [row["prompt"], row["response_a"], row["response_b"]]
    for row in json.loads(read_gzip(folder / "pandalm_test" / "testset-v1.json.gz")):
        texts.append(f"{row['instruction']} {row['input']}")
    return decontamination_row("real", prompts, texts)


def read_gzip(path: Path) -> str:
    """Text of a compressed file."""
    return gzip.decompress(path.read_bytes()).decode()


def deduplication_row(num_pairs: int) -> dict[str, Any]:
    """One id in ten repeated: rows kept, in order, from the same Arrow table of ids."""
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 2**64, (num_pairs, 2), dtype=np.uint64)
    repeated = rng.choice(num_pairs, (2, num_pairs // 10), replace=False)
    raw[repeated[0]] = raw[repeated[1]]
    storage = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), num_pairs, [None, pa.py_buffer(raw.tobytes())]
    )
    ids = pa.ExtensionArray.from_storage(pa.uuid(), storage)
    table = pa.table({"pair_id": ids, "row": pa.array(range(num_pairs))})

    def ours() -> np.ndarray:
        first = first_copies(table)
        return np.flatnonzero(first == np.arange(len(first)))

    def baseline() -> np.ndarray:
        frame = pa.table({"pair_id": storage, "row": table.column("row")}).to_pandas()
        return frame.drop_duplicates("pair_id")["row"].to_numpy()

    return compare(f"deduplication_vs_pandas_{num_pairs}", ours, baseline)


def main() -> None:
    """Runs all comparisons and writes bench/results/pool.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=30_000)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=2_000_000)
    arguments = parser.parse_args()
    rows = [
        made_row(kind, num_prompts=arguments.prompts, num_texts=arguments.texts)
        for kind in ("ascii", "unicode")
    ]
    real_data = Path(os.environ.get("SYNPREF_REAL_DATA", ROOT.parent / "shared" / "data"))
    if real_data.is_dir():
        rows.append(real_row(real_data))
    rows.append(deduplication_row(arguments.pairs))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
