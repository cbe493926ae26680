"""Timing of two or more sides in one process, and the lines of the result table."""

import os
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

MACHINE = f"{platform.machine()}, {os.cpu_count()} cores, 1 thread, torch {torch.__version__}"
Timed = tuple[float, float, Any]


def timed(run: Callable[[], Any]) -> Timed:
    """CPU seconds, wall seconds and result of a call."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def alternate(
    sides: dict[str, Callable[[int], Timed]], *, repeats: int, warms_up: bool = True
) -> dict[str, list[Timed]]:
    """Timings of each side: a warm-up, then A B C, C B A, ... on the same repeat number.

    Without a warm-up repeat 0 is left out; what takes minutes hardly feels the first second.
    """
    results: dict[str, list[Timed]] = {name: [] for name in sides}
    for repeat in range(0 if warms_up else 1, repeats + 1):
        names = list(sides) if repeat % 2 else list(sides)[::-1]
        for name in names:
            measured = sides[name](repeat)
            if repeat:
                results[name].append(measured)
    return results


def row(
    name: str, results: dict[str, list[Timed]], baseline: str, *, exactness: str, ours: str = "ours"
) -> dict[str, Any]:
    """One line of the table: median ratios of `baseline` to one of our sides."""
    pairs = list(zip(results[baseline], results[ours], strict=True))
    wall = sorted(theirs[1] / mine[1] for theirs, mine in pairs)
    return {
        "name": name,
        "ours": round(median(t[0] for t in results[ours]), 4),
        "baseline": round(median(t[0] for t in results[baseline]), 4),
        "ratio_cpu": round(median(theirs[0] / mine[0] for theirs, mine in pairs), 3),
        "ratio_wall": round(median(wall), 3),
        "ratio_wall_range": [round(wall[0], 3), round(wall[-1], 3)],
        "exactness": exactness,
        "repeats": len(pairs),
        "machine": MACHINE,
    }


def both_rows(
    name: str, results: dict[str, list[Timed]], baseline: str, *, exactness: str
) -> list[dict[str, Any]]:
    """The engine as shipped, and with the matrix products of the baseline's library."""
    return [
        row(name, results, baseline, exactness=exactness),
        row(f"{name} [same GEMM library]", results, baseline, exactness=exactness, ours="ours_mkl"),
    ]


def same_gemm(side: Callable[[int], Timed]) -> Callable[[int], Timed]:
    """The side with matrix products sent to MKL like everybody else's."""

    def run(repeat: int) -> Timed:
        forward = "synpref_dagster.reward.attention.forward.fast_linear"
        with patch(forward, lambda *_, **__: nullcontext()):
            return side(repeat)

    return run
