"""The part of a profile that says where shards are worked on; it never changes a result.

In this process, in several processes of this machine, or on a Ray cluster: finished shards are
found by what they were computed from, so a campaign may change its executor at any time.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from synpref_dagster.settings.addresses import ClusterAddress
from synpref_dagster.settings.section import Needs, Section


class RaySettings(Section):
    """The cluster of executor `ray`, and what one worker takes of it."""

    address: ClusterAddress | None = None
    """`HOST:6379`, `auto`, or `ray://HOST:10001`; None asks RAY_ADDRESS, else starts one here."""
    cpus_per_worker: float = Field(default=1.0, ge=0, le=10_000)
    """Cores that a worker takes."""
    gpus_per_model_worker: float = Field(default=0.0, ge=0, le=1000)
    """GPUs of a worker that holds a model, 0 on CPUs; a fraction shares one among workers."""
    max_retries: int = Field(default=3, ge=0, le=1000)
    """How often a shard is tried again whose worker or node was lost."""
    start_timeout_seconds: float = Field(default=600.0, gt=0, le=604_800)
    """How long to wait for the first worker; an autoscaler needs minutes to bring nodes."""
    object_store_mb: int | None = Field(default=None, ge=80, le=100_000_000)
    """Shared memory of a cluster started here; None leaves it to Ray. Shards never travel by it."""


class ShardSettings(Section):
    """Who works on shards, and on how many at a time."""

    obeyed_where: ClassVar[Mapping[str, Needs]] = {
        "workers": {"executor": ("processes", "ray")},
        "model_workers": {"executor": ("processes", "ray")},
        "ray": {"executor": ("ray",)},
    }

    executor: Literal["in_process", "processes", "ray"] = "in_process"
    """Where shards are worked on."""
    workers: int = Field(default=2, ge=1, le=10_000)
    """Shards worked on at a time; `in_process` works on one."""
    model_workers: int | None = Field(default=None, ge=1, le=10_000)
    """The same in steps that hold a model, for instance the number of GPUs; None: `workers`."""
    ray: RaySettings = RaySettings()
