"""What a start costs: building the definitions, help and a refused typo, against bare libraries.

Every start is a process of its own. The sides take turns; figures are medians of the CPU seconds
(user and system) of the processes, the first of which, that writes bytecode, is left out.
Run: python bench/start.py [--repeats 11]; into results/start.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "start.json"
DAGSTER, TYPER = "import dagster, pandas", "import typer, rich"
DEFINITIONS = (
    "import os; os.environ['SYNPREF_PROFILE'] = {!r}; "
    "from synpref_dagster.definitions import defs; defs()"
)
COMMAND = (
    "import sys; from synpref_dagster.cli.app import main; sys.argv = ['synpref', *{!r}]; main()"
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start, what it is held against, and the most that it may cost."""

    name: str
    program: str
    against: str
    status: int = 0
    share: float = 1.0
    """Most CPU seconds: so many times the baseline's ..."""
    seconds: float = 0.0
    """... and so many more."""


TYPO = COMMAND.format(["run", "--profile", "demmo"])
STARTS = (
    Start(
        name="definitions_smoke", program=DEFINITIONS.format("smoke"), against=DAGSTER, share=1.6
    ),
    Start(
        name="definitions_paper", program=DEFINITIONS.format("paper"), against=DAGSTER, share=1.6
    ),
    Start(name="help", program=COMMAND.format(["--help"]), against=TYPER, seconds=0.3),
    Start(name="refused_typo", program=TYPO, against=TYPER, status=2, seconds=0.3),
)


def measure(program: str, *, status: int = 0) -> dict[str, float]:
    """CPU and wall seconds of one process.

    Raises:
        SystemExit: it ended with another status.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        _, ended, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode != status:
        raise SystemExit(f"{program!r} ended with {process.returncode}, not with {status}")
    return {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.perf_counter() - begin,
    }


def compare(start: Start, repeats: int) -> dict[str, Any]:
    """The row of one start."""
    ours, baseline = [], []
    for _ in range(repeats + 1):
        ours.append(measure(start.program, status=start.status))
        baseline.append(measure(start.against))
    found, bare = _medians(ours[1:]), _medians(baseline[1:])
    limit = start.share * bare["cpu_seconds"] + start.seconds
    return {
        "name": f"{start.name}_vs_{start.against.replace(', ', '_').replace(' ', '_')}",
        "ours": found,
        "baseline": bare,
        "ratio_cpu": found["cpu_seconds"] / bare["cpu_seconds"],
        "ratio_wall": found["wall_seconds"] / bare["wall_seconds"],
        "share_of_limit": found["cpu_seconds"] / limit,
        "exactness": f"exit status {start.status}, as it should be",
        "repeats": repeats,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
    }


def _medians(runs: list[dict[str, float]]) -> Mapping[str, float]:
    return {name: median(run[name] for run in runs) for name in runs[0]}


def main() -> None:
    """All starts and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=11)
    repeats = parser.parse_args().repeats
    rows = []
    for start in STARTS:
        row = compare(start, repeats)
        rows.append(row)
        print(
            f"{row['name']}: {row['ratio_cpu']:.2f}x CPU, {row['ours']['cpu_seconds']:.2f} s, "
            f"{row['share_of_limit']:.0%} of what it may cost"
        )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
