"""Pool steps against datatrove: decontamination, exact and near duplicates, on made texts.

datatrove lives in a virtual environment of its own, it is no dependency of the project:

    python -m venv /tmp/datatrove && /tmp/datatrove/bin/pip install datatrove==0.10.1 \
        "xxhash==3.8.2" "spacy==3.8.18" "regex==2026.11.15" "tokenizers==0.23.3"
    DATATROVE_PYTHON=/tmp/datatrove/bin/python python bench/datatrove_pool.py

(its default hash fails on text with xxhash 4.) Both sides get texts in memory and run one after the
other, each in a process of its own: readers, writers, executors, start and index building are not
timed. Both sides must find the same rows, else the row of results says what differs.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synpref_dagster.curation.pool.near_duplicates import TOKENS_PER_GRAM, jaccard, token_grams

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "bench" / "datatrove_parts"
RESULTS = ROOT / "bench" / "results" / "datatrove_pool.json"
DEFAULT_PYTHON = "/tmp/datatrove/bin/python"
REPEATS = 3
WORDS_PER_TEXT, WORDS_PER_PROMPT, PLANTED_WORDS = 290, 80, 20
CONTAMINATED, REPEATED, NEARLY_REPEATED = 0.01, 0.1, 0.1
MAX_CHANGED_WORDS = 12
MIN_SIMILARITY = 0.8


def made_words(rng: random.Random, count: int) -> list[str]:
    """Different words of letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return sorted({"".join(rng.choices(letters, k=rng.randint(3, 11))) for _ in range(count)})


def write_lines(path: Path, rows: list[Any]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_texts(folder: Path, *, num_prompts: int, num_texts: int) -> None:
    """Prompts, and texts of which one in a hundred holds 20 consecutive words of a prompt."""
    rng = random.Random(0)
    words = made_words(rng, 20_000)
    prompts = [rng.choices(words, k=WORDS_PER_PROMPT) for _ in range(num_prompts)]
    texts = [rng.choices(words, k=WORDS_PER_TEXT) for _ in range(num_texts)]
    for place in rng.sample(range(num_texts), int(num_texts * CONTAMINATED)):
        start = rng.randrange(WORDS_PER_PROMPT - PLANTED_WORDS)
        texts[place][100:120] = rng.choice(prompts)[start : start + PLANTED_WORDS]
    for name, said in (("prompts", prompts), ("texts", texts)):
        write_lines(folder / f"{name}.jsonl", [" ".join(each) for each in said])


def make_repetitions(folder: Path, num_pairs: int) -> None:
    """Pairs of some 300 bytes, one in ten the repetition of another."""
    rng = random.Random(1)
    words = made_words(rng, 20_000)
    pairs: list[list[str]] = []
    for _ in range(num_pairs):
        new = [" ".join(rng.choices(words, k=14)) for _ in range(3)]
        pairs.append(rng.choice(pairs) if pairs and rng.random() < REPEATED else new)
    write_lines(folder / "pairs.jsonl", pairs)


def make_near_repetitions(folder: Path, num_pairs: int) -> dict[tuple[int, int], float]:
    """Pairs of 290 words; one in ten is another one with some words changed: similarity by rows."""
    rng = random.Random(2)
    words = made_words(rng, 20_000)
    said = [rng.choices(words, k=WORDS_PER_TEXT) for _ in range(num_pairs)]
    places = rng.sample(range(num_pairs), int(2 * num_pairs * NEARLY_REPEATED))
    planted = [tuple(sorted(both)) for both in zip(places[::2], places[1::2], strict=True)]
    for first, second in planted:
        said[second] = list(said[first])
        for place in rng.sample(range(WORDS_PER_TEXT), rng.randint(1, MAX_CHANGED_WORDS)):
            said[second][place] = rng.choice(words)
    pairs = [[" ".join(part) for part in (text[:90], text[90:190], text[190:])] for text in said]
    write_lines(folder / "near.jsonl", pairs)
    return {(first, second): similarity(pairs[first], pairs[second]) for first, second in planted}


def similarity(first: list[str], second: list[str]) -> float:
    """Jaccard similarity of two pairs, as `near_duplicates` defines it."""
    texts = ("\n".join([prompt, *sorted(rest)]) for prompt, *rest in (first, second))
    return jaccard(*(token_grams(text, [TOKENS_PER_GRAM]) for text in texts))


def run_side(python: str, script: str, step: str, folder: Path) -> dict[str, Any]:
    """One step of one side in a process of its own."""
    command = [python, str(PARTS / f"{script}.py"), step, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        text = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: run it by hand to see why")
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


def compare(
    step: str, folder: Path, python: str, *, size: str, judge: Callable[[Any, Any], str]
) -> dict[str, Any]:
    """One row: medians of interleaved repeats, and what both sides found."""
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "baseline": []}
    for _ in range(REPEATS):
        runs["ours"].append(run_side(sys.executable, "our_steps", step, folder))
        runs["baseline"].append(run_side(python, "datatrove_steps", step, folder))
        for path in folder.glob("datatrove_*"):
            subprocess.run(["rm", "-r", str(path)], check=True)
    sides = {
        side: {
            cost: statistics.median(run[cost] for run in of_side)
            for cost in ("cpu_seconds", "wall_seconds", "peak_gb")
        }
        for side, of_side in runs.items()
    }
    row = {
        "name": f"{step}_vs_datatrove_{size}",
        **sides,
        "ratio_cpu": sides["baseline"]["cpu_seconds"] / sides["ours"]["cpu_seconds"],
        "ratio_wall": sides["baseline"]["wall_seconds"] / sides["ours"]["wall_seconds"],
        "exactness": judge(runs["ours"][0]["result"], runs["baseline"][0]["result"]),
        "repeats": REPEATS,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(f"{row['name']}: {row['ratio_cpu']:.1f}x CPU, {row['exactness']} "
          f"(ours {sides['ours']['cpu_seconds']:.2f} s, datatrove "
          f"{sides['baseline']['cpu_seconds']:.2f} s)", flush=True)  # fmt: skip
    return row


def same_rows(ours: list[int], theirs: list[int]) -> str:
    """Whether both found the same rows."""
    if ours == theirs:
        return f"identical: {len(ours):,} rows"
    return (
        f"DIFFERENT: {len(set(ours) & set(theirs)):,} rows in both, "
        f"{len(set(ours) - set(theirs)):,} ours only, {len(set(theirs) - set(ours)):,} theirs only"
    )


def found_of(planted: dict[tuple[int, int], float], clusters: list[list[int]]) -> str:
    """Planted links above and below the similarity that a side has together, and others."""
    cluster_of = {row: number for number, rows in enumerate(clusters) for row in rows}
    above, below = ([0, 0], [0, 0])
    for (first, second), alike in planted.items():
        counts = above if alike >= MIN_SIMILARITY else below
        counts[1] += 1
        counts[0] += first in cluster_of and cluster_of[first] == cluster_of.get(second)
    others = sum(len(rows) - 1 for rows in clusters) - above[0] - below[0]
    return (f"{above[0]} of {above[1]} with similarity {MIN_SIMILARITY} and above, "
            f"{below[0]} of {below[1]} below, {others} others")  # fmt: skip


def main() -> None:
    """Runs the three comparisons and writes bench/results/datatrove_pool.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=os.environ.get("DATATROVE_PYTHON", DEFAULT_PYTHON))
    parser.add_argument("--prompts", type=int, default=3_000)
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--pairs", type=int, default=100_000)
    arguments = parser.parse_args()
    if not Path(arguments.python).exists():
        print(f"datatrove is NOT COMPARED: there is no {arguments.python}. How to make it:\n")
        print(__doc__)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, python = Path(name), arguments.python
        make_texts(folder, num_prompts=arguments.prompts, num_texts=arguments.texts)
        make_repetitions(folder, arguments.pairs)
        planted = make_near_repetitions(folder, arguments.texts)
        rows = [
            compare("decontamination", folder, python, size=str(arguments.texts), judge=same_rows),
            compare("exact_duplicates", folder, python, size=str(arguments.pairs), judge=same_rows),
            compare(
                "near_duplicates",
                folder,
                python,
                size=str(arguments.texts),
                judge=lambda ours, theirs: (
                    f"ours {found_of(planted, ours)}; datatrove {found_of(planted, theirs)}"
                ),
            ),
        ]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
