"""What steps cost: seconds, processor time and time on graphics cards, kept with every result.

A step writes its own cost into its metadata; what a campaign cost is the sum over its history, so
that a second start adds what it did and nothing is counted twice. Attempts that were killed or
failed left nothing, and are not in it.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from synpref_dagster.resources.campaign import STORE, Campaign, is_of, name_of

SECONDS, CPU_SECONDS, GPU_SECONDS = "step_seconds", "cpu_seconds", "gpu_seconds"
MEASURES = (SECONDS, CPU_SECONDS, GPU_SECONDS)
GPU_POOL = "gpu"
PAGE = 1_000  # events fetched together


class Meter:
    """Measures one step from where it is made."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._may_use_gpu = context.assets_def.op.pool == GPU_POOL
        self._began, self._cpu = time.monotonic(), _cpu_seconds()

    def measured(self) -> dict[str, float]:
        """What the step took so far, by `MEASURES`.

        Processor time is that of this process and of those that it started and waited for, not of
        a Ray cluster. A card is held for as long as a step of the pool `gpu` that loaded PyTorch
        runs, where there is one; several cards of one training count as one.
        """
        seconds = time.monotonic() - self._began
        return {
            SECONDS: round(seconds, 3),
            CPU_SECONDS: round(_cpu_seconds() - self._cpu, 3),
            GPU_SECONDS: round(seconds, 3) if self._may_use_gpu and _has_gpu() else 0.0,
        }


def cost_so_far(instance: dg.DagsterInstance, campaign: Campaign) -> dict[str, Any]:
    """What all finished steps of a campaign took, as the instance remembers them.

    Returns:
        cpu_hours, gpu_hours, None where no step was measured; num_steps, and num_unmeasured of
        them, which an earlier version of this package made; by_step, asset -> seconds,
        cpu_seconds, gpu_seconds over all attempts.
    """
    by_step: dict[str, dict[str, float]] = {}
    num_steps = num_unmeasured = 0
    for name, metadata in _history(instance, campaign):
        num_steps += 1
        if SECONDS not in metadata:
            num_unmeasured += 1
            continue
        total = by_step.setdefault(name, dict.fromkeys(("seconds", CPU_SECONDS, GPU_SECONDS), 0.0))
        total["seconds"] += float(metadata[SECONDS])
        for measure in (CPU_SECONDS, GPU_SECONDS):
            total[measure] += float(metadata[measure])
    return {
        "cpu_hours": _hours(by_step, CPU_SECONDS),
        "gpu_hours": _hours(by_step, GPU_SECONDS),
        "num_steps": num_steps,
        "num_unmeasured": num_unmeasured,
        "by_step": by_step,
    }


def _hours(by_step: Mapping[str, Mapping[str, float]], measure: str) -> float | None:
    return sum(each[measure] for each in by_step.values()) / 3600 if by_step else None


def _history(
    instance: dg.DagsterInstance, campaign: Campaign
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Asset and metadata of everything that this campaign materialised."""
    prefix, whose = campaign.profile.key_prefix, campaign.about()
    whose.pop(STORE)  # a campaign that was moved paid for what it did before
    for key in filter(lambda each: is_of(each, prefix), instance.all_asset_keys()):
        cursor: str | None = None
        while True:
            found = instance.fetch_materializations(key, limit=PAGE, cursor=cursor)
            for record in found.records:
                event = record.asset_materialization
                told = {k: v.value for k, v in event.metadata.items()} if event else {}
                if all(told.get(name) == value for name, value in whose.items()):
                    yield name_of(key, prefix), told
            if not found.has_more:
                break
            cursor = found.cursor


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _has_gpu() -> bool:
    torch = sys.modules.get("torch")  # a step that never loaded it computed nothing there
    return torch is not None and bool(torch.cuda.is_available())
