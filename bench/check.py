"""`synpref check` at 1M pairs of 2 KB: CPU seconds and peak memory, beside reading the same files.

Both are processes of their own on the same files, imports included: reading asks the package's
reader for every pair and keeps none; check does all that `synpref check --json` does. The files
hold duplicates, contradictions, tied rows, e-mail addresses and prompts of a benchmark, in known
numbers that the check has to find. Run: python bench/check.py [--pairs 200000] [--folder /tmp];
into results/check.json.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pool import machine, made_texts

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "check.json"
NUM_FILES = 4
PROMPT, LEAST, MOST = 400, 400, 1200  # characters: a pair has 2 KB
EVERY = {"duplicate": 100, "contradiction": 200, "tied": 50, "email": 400, "benchmark": 1000}
PROFILE = """
name = "bench"
[pool]
kind = "sources"
custom_benchmarks = {{ own = "{folder}/suite.jsonl" }}
{sources}
[seed_set]
num_gold = 1000
num_silver = 1000
[iterations]
num_iterations = 1
max_retrieved = 1000
num_human = 300
[people]
backend = "page"
[reward_model]
backend = "linear"
[release]
backend = "stand_in"
"""


def make(folder: Path, num_pairs: int) -> dict[str, int]:
    """Writes sources, a suite and the profile; gives what has to be found."""
    rng = np.random.default_rng(0)
    text = " ".join(made_texts(rng, count=400, num_words=2_000, unicode=False))
    suite = [text[n * PROMPT : (n + 1) * PROMPT] for n in range(50)]
    with (folder / "suite.jsonl").open("w") as file:
        for number, prompt in enumerate(suite):
            row = {"id": str(number), "prompt": prompt, "chosen": "yes", "rejected": "no"}
            file.write(json.dumps(row) + "\n")
    planted = dict.fromkeys(EVERY, 0)
    per_file = num_pairs // NUM_FILES
    for number in range(NUM_FILES):
        with (folder / f"source{number}.jsonl").open("w") as file:
            for line in _lines(rng, text, suite, count=per_file, planted=planted):
                file.write(line)
    sources = "\n".join(
        f'[[pool.sources]]\nname = "source{n}"\npath = "{folder}/source{n}.jsonl"\norigin = "human"'
        for n in range(NUM_FILES)
    )
    (folder / "bench.toml").write_text(PROFILE.format(folder=folder, sources=sources))
    return planted


def _lines(
    rng: np.random.Generator, text: str, suite: list[str], *, count: int, planted: dict[str, int]
) -> Any:
    before: dict[str, str] = {}
    for place in range(count):
        starts = rng.integers(len(suite) * PROMPT, len(text) - MOST, 3)
        sizes = rng.integers(LEAST, MOST, 2)
        row = {
            "prompt": text[starts[0] : starts[0] + PROMPT],
            "chosen": text[starts[1] : starts[1] + sizes[0]],
            "rejected": text[starts[2] : starts[2] + sizes[1]],
        }
        kinds = [name for n, (name, every) in enumerate(EVERY.items()) if place % every == n + 3]
        if kinds:
            kind = kinds[0]
            planted[kind] += 1
            if kind == "duplicate":
                row = before
            elif kind == "contradiction":
                row = {**before, "chosen": before["rejected"], "rejected": before["chosen"]}
            elif kind == "tied":
                row["rejected"] = row["chosen"]
            elif kind == "email":
                row["chosen"] += f" write to ann.lee{place}@posteo.de"
            else:
                row["prompt"] = suite[place % len(suite)]
        else:
            before = row
        yield json.dumps(row) + "\n"


def read(folder: Path) -> dict[str, Any]:
    """Every pair of the files, by the package's reader; none is kept."""
    from synpref_dagster.settings.profile import load_profile
    from synpref_dagster.sources.reading import read_source
    from synpref_dagster.sources.records import SourceSpec

    profile = load_profile(str(folder / "bench.toml"))
    began, num_pairs = time.process_time(), 0
    for source in profile.pool.sources:
        spec = SourceSpec(**source.model_dump(exclude={"may_leave"}))
        num_pairs += sum(len(batch.pairs) for batch in read_source(spec, seed=profile.seed))
    return {"num_pairs": num_pairs, "cpu_seconds_without_imports": time.process_time() - began}


def check(folder: Path) -> dict[str, Any]:
    """The whole check of the profile."""
    from rich.console import Console

    from synpref_dagster.cli.before.check import check_profile
    from synpref_dagster.settings.profile import load_profile

    profile, said = load_profile(str(folder / "bench.toml")), io.StringIO()
    began = time.process_time()
    with contextlib.redirect_stdout(said):
        check_profile(Console(), profile, as_json=True, offline=True)
    facts = json.loads(said.getvalue())
    names = ("num_pairs", "num_distinct", "num_contaminated", "num_with_personal_data")
    found = {name: facts[name] for name in names}
    found["num_quarantined"] = sum(row["num_quarantined"] for row in facts["sources"])
    found["num_contradictory"] = sum(row["num_contradictory"] for row in facts["sources"])
    return {**found, "cpu_seconds_without_imports": time.process_time() - began}


def job(name: str, folder: Path) -> dict[str, Any]:
    """A job in a process of its own, and what the system charges for it."""
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, __file__, "--job", name, "--folder", str(folder)],
        env=os.environ | {"SYNPREF_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout) | {"wall_seconds": time.perf_counter() - began}


def main() -> None:
    """Make the files, run both jobs, write the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--job", choices=("read", "check"))
    told = parser.parse_args()
    if told.job:
        found = {"read": read, "check": check}[told.job](told.folder)
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime
        print(json.dumps(found | {"cpu_seconds": cpu, "peak_gb": used.ru_maxrss / 2**20}))
        return
    with tempfile.TemporaryDirectory(dir=told.folder) as made:
        folder = Path(made)
        planted = make(folder, told.pairs)
        num_bytes = sum(file.stat().st_size for file in folder.glob("source*.jsonl"))
        jobs = {name: job(name, folder) for name in ("read", "check")}
        wrote = (folder / "store").exists()
    ratio = jobs["read"]["cpu_seconds"] / jobs["check"]["cpu_seconds"]
    row = {
        "name": f"check_{told.pairs}",
        "num_rows": told.pairs,
        "num_bytes": num_bytes,
        "planted": planted,
        **jobs,
        "speed_of_reading": ratio,
        "wrote_into_the_store": wrote,
        "machine": machine(),
    }
    known = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []
    rows = [each for each in known if each["name"] != row["name"]] + [row]
    RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
