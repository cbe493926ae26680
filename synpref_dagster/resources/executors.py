"""Where the shards of a campaign are worked on, as the profile says; results are the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.shards import RaySettings, ShardSettings
from synpref_dagster.storage import InProcessExecutor, ProcessPoolShardExecutor, ShardExecutor
from synpref_dagster.storage.maps.ray import RayShardExecutor, WorkerNeeds

if TYPE_CHECKING:
    from dagster_ray import RayResource


class Executors(dg.ConfigurableResource):
    """Gives `map_shards` its executor.

    Override `cluster` to bring another resource of dagster-ray, for instance a cluster on
    Kubernetes that lives as long as the run.
    """

    campaign: Campaign
    _cluster: Any = PrivateAttr(default=None)

    def get(self, *, holds_model: bool = False) -> ShardExecutor:
        """The executor of one step; a cluster is not asked before there is a shard to work on.

        Args:
            holds_model: whether the step's workers keep a model loaded (scoring): they are as
                many, and take as many GPUs, as the profile says for such steps.
        """
        root = self.campaign.store_root
        return _executor(
            self.campaign.profile.shards,
            self._connect,
            store=None if "://" in root else root,
            holds_model=holds_model,
        )

    def cluster(self) -> "RayResource":
        """The cluster that the profile names.

        Raises:
            ValueError: Ray is not installed.
        """
        return _cluster(self.campaign.profile.shards.ray)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the connection, and with it a cluster that was started here."""
        if self._cluster is not None:
            self._cluster.cleanup(context, None)
            self._cluster = None

    def _connect(self) -> None:
        if self._cluster is None:
            self._cluster = self.cluster()
        from synpref_dagster.resources.ray_cluster import connect

        connect(self._cluster, self.get_resource_context())


@contextmanager
def opened_executor(settings: ShardSettings, *, store: str) -> Iterator[ShardExecutor]:
    """The executor of a scoring outside a campaign; a cluster started for it ends with it.

    Args:
        settings: as `[shards]` of a profile.
        store: the local folder that every worker must see.

    Raises:
        ValueError: Ray is not installed.
    """
    opened: list[RayResource] = []

    def connect() -> None:
        from synpref_dagster.resources.ray_cluster import connect as connect_to

        opened.append(_cluster(settings.ray))
        connect_to(opened[-1], dg.build_init_resource_context())

    try:
        yield _executor(settings, connect, store=store, holds_model=True)
    finally:
        for cluster in opened:
            cluster.cleanup(dg.build_init_resource_context(), None)


def _executor(
    settings: ShardSettings, connect: Callable[[], None], *, store: str | None, holds_model: bool
) -> ShardExecutor:
    num_workers = (holds_model and settings.model_workers) or settings.workers
    if settings.executor == "in_process":
        return InProcessExecutor()
    if settings.executor == "processes":
        return ProcessPoolShardExecutor(num_workers)
    ray = settings.ray
    return RayShardExecutor(
        connect,
        num_workers=num_workers,
        needs=WorkerNeeds(
            num_cpus=ray.cpus_per_worker,
            num_gpus=ray.gpus_per_model_worker if holds_model else 0.0,
        ),
        max_retries=ray.max_retries,
        start_timeout_seconds=ray.start_timeout_seconds,
        store=store,
    )


def _cluster(settings: RaySettings) -> "RayResource":
    try:
        from synpref_dagster.resources.ray_cluster import make_cluster
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the executor of shards is 'ray', but {error.name} is not installed: "
            "pip install 'synpref-dagster[ray]', or choose in_process or processes"
        ) from error
    return make_cluster(settings)
