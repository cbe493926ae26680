"""The Ray cluster of a profile as a resource of dagster-ray, connected when it is first needed.

Needs the extra `ray`: imported only where a profile's shards are worked on by Ray.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import ray
from dagster_ray import Lifecycle, LocalRay, RayResource
from dagster_ray.configs import RayDataExecutionOptions

from synpref_dagster.settings.shards import RaySettings

# Told to every worker. Secrets are not: Ray shows a job's environment on its dashboard.
PASSED_ON = ("OMP_NUM_THREADS", "SYNPREF_S3_ENDPOINT", "SYNPREF_S3_REGION")
MEGABYTE = 1 << 20
ANSWER_SECONDS = 10.0


class NoRayData(RayDataExecutionOptions):
    """Ray Data is not used: setting its options would load it here and on the cluster."""

    def apply(self) -> None:
        """Nothing to set here."""

    def apply_remote(self) -> None:
        """Nothing to set on the cluster."""


class RayCluster(LocalRay):
    """The cluster at an address; without one that of RAY_ADDRESS, else one started here."""

    address: str = ""
    data_execution_options: NoRayData = NoRayData()

    @property
    def ray_address(self) -> str:
        """What `ray.init` connects to; `local` starts a cluster, whatever else runs here."""
        return self.address or "local"

    def wait(self, context: dg.InitResourceContext) -> None:
        """Ask the address for an answer: `ray.init` would wait for one without end.

        Raises:
            ConnectionError: nobody listens there.
        """
        place = urlsplit(self.address if "://" in self.address else f"//{self.address}")
        if place.hostname and place.port:
            try:
                socket.create_connection((place.hostname, place.port), ANSWER_SECONDS).close()
            except OSError as error:
                raise ConnectionError(
                    f"no Ray cluster answers at {self.address!r} ({error}): start one with `ray "
                    "start --head`, or correct shards.ray.address or RAY_ADDRESS"
                ) from error

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"the Ray cluster at {self.address}" if self.address else "the Ray cluster"

    def get_env_vars_to_inject(self) -> dict[str, str]:
        """Environment of the workers: the driver's, where shards depend on it."""
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {**passed, **super().get_env_vars_to_inject()}


def make_cluster(settings: RaySettings) -> RayCluster:
    """The cluster that the settings name."""
    options: dict[str, Any] = {"logging_level": "warning"}
    address = settings.address or os.environ.get("RAY_ADDRESS", "")
    if not address:
        options["include_dashboard"] = False
        if settings.object_store_mb is not None:
            options["object_store_memory"] = settings.object_store_mb * MEGABYTE
    return RayCluster(
        address=address,
        ray_init_options=options,
        # It is not ours to delete; connections are closed in any case.
        lifecycle=Lifecycle(cleanup="never"),
    )


def connect(cluster: RayResource, context: dg.InitResourceContext) -> None:
    """Connect this process to the cluster, unless it is connected to Ray already."""
    if ray.is_initialized():
        return
    with _interrupts_kept():
        cluster.create(context)
        cluster.wait(context)
        try:
            cluster.connect(context)
        except ConnectionError as error:
            error.add_note(
                "A cluster may ask for a token, as Ray's do by default: set RAY_AUTH_MODE=token, "
                "and RAY_AUTH_TOKEN to what `ray get-auth-token` says on its head node"
            )
            raise


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    # Ray takes over SIGTERM, by which Dagster (and Kubernetes) asks a run to end.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
