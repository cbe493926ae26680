"""Runs each asset of a job in a process of its own and says what it cost and where.

The processes are forked from one that has imported the code location, as the multiprocess executor
does. A thread in each looks at its memory and at the line it is on: growth is booked on the
innermost line of the package (the call that took the memory), and so is time.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = "synpref_dagster"
SAMPLE_SECONDS = 0.02
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
LEFT_OUT = "7_evidence"  # looks at samples of a fixed size, whatever the pool
NUM_LINES = 3  # costly lines that are reported
OWN_FRAMES = ("/step.py",)  # around every asset's body: they say nothing


@dataclass
class Sampler:
    """Memory growth and time of the main thread by line of the package."""

    growth_mb: Counter[str]
    samples: Counter[str]
    running: bool = True

    def watch(self, main_thread: int) -> None:
        """Looks until `running` is turned off."""
        before = resident_mb()
        while self.running:
            time.sleep(SAMPLE_SECONDS)
            now = resident_mb()
            line = innermost(sys._current_frames().get(main_thread))
            self.samples[line] += 1
            self.growth_mb[line] += max(0.0, now - before)
            before = now

    def top(self) -> dict[str, Any]:
        """The lines with most growth, in MB, and with most time, as a share."""
        total = sum(self.samples.values()) or 1
        return {
            "memory_mb": {line: round(mb) for line, mb in self.growth_mb.most_common(NUM_LINES)
                          if mb >= 1},
            "time_share": {line: round(count / total, 2)
                           for line, count in self.samples.most_common(NUM_LINES)},
        }  # fmt: skip


def resident_mb() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


def innermost(frame: FrameType | None) -> str:
    """`caller:line > callee:line` of the two innermost lines of the package."""
    found: list[str] = []
    while frame is not None and len(found) < 2:
        path = frame.f_code.co_filename
        if f"/{PACKAGE}/" in path and not path.endswith(OWN_FRAMES):
            found.append(f"{path.rsplit(f'/{PACKAGE}/', 1)[1]}:{frame.f_lineno}")
        frame = frame.f_back
    return " > ".join(reversed(found)) or "outside the package"


def run_job(name: str, *, log: Path, finished: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Runs a job's assets without the evidence, one after the other; gives one row per asset.

    Those that are `finished` are left out.

    Raises:
        SystemExit: an asset failed; the end of its log is told.
    """
    import mlflow.tracking  # noqa: F401 - 2 s of every asset otherwise

    from synpref_dagster.cli.campaign import end_dead_runs
    from synpref_dagster.cli.instance import open_instance
    from synpref_dagster.definitions.build import build_defs

    defs = build_defs()
    job = defs.resolve_job_def(name)
    layer = job.asset_layer
    with open_instance() as instance:  # makes the folder, before the processes are forked
        end_dead_runs(instance)  # they would keep their slots in the pools
    for key in defs.resolve_asset_graph().toposorted_asset_keys:
        is_asked = key in layer.selected_asset_keys and layer.get(key).group_name != LEFT_OUT
        if is_asked and key.to_user_string() not in finished:
            yield in_process_of_its_own(job, key, log=log)


def in_process_of_its_own(job: Any, key: Any, *, log: Path) -> dict[str, Any]:
    """Forks, materialises one asset, and returns what the system charged for it."""
    name = key.to_user_string()
    wall = time.perf_counter()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            with log.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            told = json.dumps(materialise(job, key)).encode()
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(told)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status, usage = os.wait4(child, 0)
    if status or not text:
        told = log.read_text()[-3_000:] if log.exists() else ""
        raise SystemExit(f"{told}\n{name} failed with status {status}")
    return {
        "asset": name,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "peak_gb": round(usage.ru_maxrss / 2**20, 3),
        **json.loads(text),
    }


def materialise(job: Any, key: Any) -> dict[str, Any]:
    """One asset and its checks; what it counted, and where memory and time went."""
    from synpref_dagster.cli.campaign import PROCESS_TAG
    from synpref_dagster.cli.instance import open_instance
    from synpref_dagster.storage.processes import process_name

    sampler = Sampler(Counter(), Counter())
    watch = threading.Thread(target=sampler.watch, args=[threading.get_ident()], daemon=True)
    watch.start()
    with open_instance() as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=[key], tags={PROCESS_TAG: process_name()}
        )
    sampler.running = False
    watch.join()
    counts: dict[str, Any] = {}
    for event in result.get_asset_materialization_events():
        metadata = event.step_materialization_data.materialization.metadata
        counts |= {
            name: value.value
            for name, value in metadata.items()
            if name == "dagster/row_count" or name.endswith(("_computed", "_reused"))
        }
    return {"counts": counts, "where": sampler.top()}
