"""The first and the second night of a team's own data, at growing size: what each asset costs.

Made sources of short pairs (about 300 bytes) under a profile as in docs/own_data.md: embedded
judges, linear reward models, the votes in the sources play the people. First the job `curate_pool`
without the evidence, then a new file of votes and one of labels, together 1% of the
pool, and the job `filter_pool`. Every asset runs in a process of its own, measured by what the
system charges it. The point is to see which asset does not scale.
Run: python bench/campaign_scale.py [--pairs 20 100] [--folder /tmp]; thousands of pairs; into
results/campaign_scale.json. `--report` prints the tables of docs/scale.md from that file.

`--recorded` measures the data path alone: rewards, verdicts, attributes and vectors are looked up
in the texts (`campaign_parts/recorded_answers.py`), the pool is made column by column, and the
second night brings 1% new pairs and corrects a file of another 1%. With --folder a run that was
stopped goes on at the asset at which it stopped.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from campaign_parts import made_columns, made_sources

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "campaign_scale.json"
NIGHTS = {"first": "curate_pool", "second": "filter_pool"}
SECOND_SHARE = 0.01
OUT_OF_LINE = 1.25  # cost that grows this much faster than the pool is reported
GB_PER_MILLION = 1.0


def run_night(job: str, log: Path, rows: Path, *, recorded: bool) -> None:
    """In a process of its own: every asset of the job, one JSON line each."""
    from campaign_parts.asset_processes import run_job
    from campaign_parts.recorded_answers import put_in_place

    if recorded:
        put_in_place()
    finished = {row["asset"] for row in read_rows(rows)}
    with rows.open("a") as file:
        for row in run_job(job, log=log, finished=finished):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"  {row['asset']:<32} {row['cpu_seconds']:8.1f} s CPU {row['wall_seconds']:8.1f}"
                  f" s {row['peak_gb']:6.2f} GB {row['counts']}", flush=True)  # fmt: skip


def measure(folder: Path, num_pairs: int, *, recorded: bool) -> Iterator[list[dict[str, Any]]]:
    """The rows of each night of one size."""
    made = made_columns if recorded else made_sources
    data = folder / f"pool_{num_pairs}"
    profile = data / made_sources.PROFILE_NAME
    if not profile.exists():  # it is written last
        shutil.rmtree(data, ignore_errors=True)
        started = time.perf_counter()
        made.write_first_night(data, num_pairs)
        print(f"{num_pairs:,} pairs made in {time.perf_counter() - started:.0f} s", flush=True)
    for night, job in NIGHTS.items():
        if night == "second":
            made.write_second_night(data, num_pairs, int(num_pairs * SECOND_SHARE))
        print(f"{night} night, {num_pairs:,} pairs: {job}", flush=True)
        written = data / f"{night}.jsonl"
        command = [sys.executable, __file__, "--night", job, "--rows", str(written),
                   "--log", str(data / f"{night}.log"),
                   *(["--recorded"] if recorded else [])]  # fmt: skip
        subprocess.run(command, check=True, env=environment(data, profile))
        yield [result(night, num_pairs, row, recorded=recorded) for row in read_rows(written)]
    shutil.rmtree(data)


def read_rows(rows: Path) -> list[dict[str, Any]]:
    """What a night has measured so far."""
    return [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []


def environment(data: Path, profile: Path) -> dict[str, str]:
    """A store, a history and a tracking store of this size's own."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "SYNPREF_PROFILE": str(profile),
        "SYNPREF_STORE": str(data / "store"),
        "SYNPREF_MLFLOW_URI": f"sqlite:///{data / 'mlflow.db'}",
        "DAGSTER_HOME": str(data / "home"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def result(night: str, num_pairs: int, row: dict[str, Any], *, recorded: bool) -> dict[str, Any]:
    """A row of results; there is nothing to compare with but the same asset at another size."""
    answers = "_recorded" if recorded else ""
    return {
        "name": f"{night}_night_{num_pairs // 1000}K{answers}_{row['asset']}",
        "night": night,
        "recorded": recorded,
        "num_pairs": num_pairs,
        "asset": row["asset"],
        "ours": {key: value for key, value in row.items() if key != "asset"},
        "baseline": None,
        "ratio_cpu": None,
        "ratio_wall": None,
        "exactness": "",
        "repeats": 1,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
    }


def tables(rows: list[dict[str, Any]]) -> str:
    """Markdown: per night one table of all sizes, then what is out of line.

    A step of the second night also says which share of the first one's time it took.
    """
    lines = []
    first = {row["name"].removeprefix("first_night_"): row["ours"]["cpu_seconds"] for row in rows}
    for night, recorded in product(NIGHTS, (False, True)):
        of_night = [
            row for row in rows if (row["night"], row.get("recorded", False)) == (night, recorded)
        ]
        sizes = sorted({row["num_pairs"] for row in of_night})
        names = list(dict.fromkeys(row["asset"] for row in of_night))
        cells = {
            (row["asset"], row["num_pairs"]): {
                **row["ours"],
                "of": first.get(row["name"].removeprefix("second_night_")),  # None: it is the first
            }
            for row in of_night
        }
        head = [f"{size // 1000}K: CPU s, GB" for size in sizes]
        said = ", recorded answers" if recorded else ""
        lines += ["", f"| {night} night{said} | {' | '.join(head)} | out of line |"]
        lines.append("| --- |" + " --- |" * (len(sizes) + 1))
        for name in names:
            shown = [costs(cells.get((name, size))) for size in sizes]
            lines.append(f"| `{name}` | {' | '.join(shown)} | {judged(cells, name, sizes)} |")
    return "\n".join(lines)


def costs(ours: dict[str, Any] | None) -> str:
    """CPU seconds and peak memory, of which some 0.25 to 0.55 GB are imports."""
    if ours is None:
        return "not run"
    share = f" ({ours['cpu_seconds'] / ours['of']:.2f}x)" if ours["of"] else ""
    return f"{ours['cpu_seconds']:.1f}, {ours['peak_gb']:.2f}{share}"


def judged(cells: dict[tuple[str, int], Any], name: str, sizes: list[int]) -> str:
    """What grows faster than the pool between the two largest sizes, or is above 1 GB per 1M."""
    known = [size for size in sizes if (name, size) in cells]
    if len(known) < 2:
        return ""
    small, large = (cells[name, size] for size in known[-2:])
    growth = known[-1] / known[-2]
    said = []
    if large["cpu_seconds"] > 10 and large["cpu_seconds"] > OUT_OF_LINE * growth * max(
        small["cpu_seconds"], 1
    ):
        said.append("time")
    added = large["peak_gb"] - small["peak_gb"]
    per_million = added / (known[-1] - known[-2]) * 1e6
    if per_million > GB_PER_MILLION:
        said.append(f"{per_million:.1f} GB per 1M")
    return ", ".join(said)


def about(row: dict[str, Any]) -> tuple[int, bool, int]:
    """Which night of which pool a row is of."""
    return list(NIGHTS).index(row["night"]), row.get("recorded", False), row["num_pairs"]


def keep(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Writes results; rows of other sizes and nights stay."""
    previous = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    measured = {about(row) for row in rows}
    rows = [row for row in previous if about(row) not in measured] + rows
    rows.sort(key=about)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    return rows


def main() -> None:
    """Measures every size, or one night of one (for the process that does it)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="*", default=[20, 100], help="thousands")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--recorded", action="store_true", help="no model on all pairs")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--night", choices=list(NIGHTS.values()))
    parser.add_argument("--log", type=Path)
    parser.add_argument("--rows", type=Path)
    arguments = parser.parse_args()
    if arguments.night:
        run_night(arguments.night, arguments.log, arguments.rows, recorded=arguments.recorded)
        return
    if arguments.report:
        print(tables(json.loads(RESULTS.read_text())["rows"]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        for thousands in arguments.pairs:
            for night in measure(folder, thousands * 1_000, recorded=arguments.recorded):
                keep(night)
    print(tables(json.loads(RESULTS.read_text())["rows"]))


if __name__ == "__main__":
    main()
