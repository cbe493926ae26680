"""One step of a side, timed in its process; standard library only, both sides import it."""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Step = Callable[[Path], Callable[[], Any]]
"""Prepares from the folder and gives what is to be timed."""


def read_lines(path: Path) -> list[Any]:
    """The rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_step(steps: Mapping[str, Step]) -> None:
    """Prepares and runs the step named on the command line; prints what it cost and gave."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=list(steps))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    timed = steps[arguments.step](arguments.folder)
    wall, cpu = time.perf_counter(), time.process_time()
    found = timed()
    costs = {
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
    }
    status = Path("/proc/self/status").read_text().splitlines()
    # By its own account: `wait4` never says less than the peak of the starting process.
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({**costs, "peak_gb": peak / 2**20, "result": found}))
