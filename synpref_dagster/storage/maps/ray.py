"""Shards worked on by Ray: a bounded number of actors, each on one shard at a time.

Every worker is an actor, so that what a shard function loads (a reward model, an index) stays
loaded from shard to shard. A worker whose process or node was lost is replaced, wherever Ray finds
a place, and its shard worked on again. Only task keys and markers travel: workers read and write
the store themselves, so they must see the driver's store and have its libraries. Both are checked.
"""

import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")

STORE_ID = ".store_id"
# What the bytes of a shard depend on.
CHECKED_LIBRARIES = ("synpref-dagster", "pyarrow", "numpy", "torch", "transformers", "tokenizers")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNeeds:
    """What one worker takes of the cluster."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0

    def __str__(self) -> str:
        return f"{self.num_cpus:g} CPUs and {self.num_gpus:g} GPUs"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker has to find on its node: the driver's folder, store and libraries."""

    folder: str
    store: str | None
    store_id: str | None
    libraries: Mapping[str, str | None]

    @classmethod
    def of_driver(cls, store: str | None) -> "Surroundings":
        """This process's own; `store` is a local folder, or None for an object store."""
        marker = _store_id(Path(store)) if store else None
        return cls(str(Path.cwd()), store, marker, _versions())

    def enter(self) -> None:
        """Work here as the driver would: in its folder, if this node has it.

        Raises:
            ValueError: this node has other libraries, or does not see the store.
        """
        if Path(self.folder).is_dir():
            os.chdir(self.folder)  # A campaign may use relative paths.
        here, node = _versions(), socket.gethostname()
        others = {name: v for name, v in here.items() if v != self.libraries[name]}
        if others:
            wanted = {name: self.libraries[name] for name in others}
            raise ValueError(
                f"node {node} has {others}, the driver has {wanted}: results would not be the "
                "same; install the same versions (constraints.txt) on every node"
            )
        if self.store and _read(Path(self.store, STORE_ID)) != self.store_id:
            raise ValueError(
                f"node {node} does not see the store {self.store!r} of the driver: put it on a "
                "file system that all nodes mount at that path, or set SYNPREF_STORE to s3://..."
            )


class ShardWorker:
    """The actor: unpacks the job on its first shard, and keeps it."""

    def __init__(self) -> None:
        self._job: Callable[[Any], Any] | None = None

    def run(self, packed_job: bytes, surroundings: Surroundings, task: Any) -> Any:
        """The job's result for one task."""
        if self._job is None:
            from ray import cloudpickle

            surroundings.enter()
            self._job = cloudpickle.loads(packed_job)
        assert self._job is not None
        return self._job(task)


class RayShardExecutor:
    """`storage.ShardExecutor` on the cluster that `connect` connects this process to."""

    def __init__(
        self,
        connect: Callable[[], None],
        *,
        num_workers: int = 2,
        needs: WorkerNeeds | None = None,
        max_retries: int = 3,
        start_timeout_seconds: float = 600.0,
        store: str | None = None,
    ) -> None:
        """Keeps the settings; nothing is connected before there is a task.

        Args:
            connect: connects this process to Ray, or finds it connected.
            num_workers: shards worked on at a time.
            needs: what a worker takes; one CPU by default.
            max_retries: how often a shard is tried again whose worker was lost.
            start_timeout_seconds: how long to wait for the first worker.
            store: local folder that workers have to see; None for an object store.

        Raises:
            ValueError: fewer than one worker.
        """
        if num_workers < 1:
            raise ValueError(f"Ray needs at least one worker, not {num_workers}")
        self.connect = connect
        self.num_workers = num_workers
        self.needs = needs or WorkerNeeds()
        self.max_retries = max_retries
        self.start_timeout_seconds = start_timeout_seconds
        self.store = store

    def run(
        self, job: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """See `storage.ShardExecutor`; workers end with the run, however it ends.

        Raises:
            TimeoutError: no worker could be started.
        """
        if not tasks:
            return
        self.connect()
        crew = _Crew(self, job)
        try:
            for index, result in crew.work(tasks):
                yield tasks[index], result
        finally:
            crew.dismiss()


class _Crew:
    """The workers of one run: those that start, and those that work on a task, by index."""

    def __init__(self, executor: RayShardExecutor, job: Callable[[Any], Any]) -> None:
        import ray
        from ray import cloudpickle

        self.ray = ray
        self.executor = executor
        surroundings = Surroundings.of_driver(executor.store)
        self.shared = (ray.put(cloudpickle.dumps(job)), ray.put(surroundings))
        # Ray's own retries of an actor's task are spent within seconds, long before Ray knows
        # that a node is gone: a lost worker is replaced here.
        self.worker_class = ray.remote(ShardWorker).options(
            num_cpus=executor.needs.num_cpus,
            num_gpus=executor.needs.num_gpus,
            scheduling_strategy="SPREAD",
        )
        self.hired: set[Any] = set()
        self.starting: dict[Any, Any] = {}
        self.working: dict[Any, tuple[Any, int]] = {}
        self.losses: Counter[int | None] = Counter()

    def work(self, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Results by index of their task, as they finish."""
        waiting = deque(range(len(tasks)))
        for _ in range(min(self.executor.num_workers, len(tasks))):
            self._hire()
        while waiting or self.working:
            ref = self._next_ref()
            # A worker gets a task once it runs: one that finds no place holds none up.
            worker, index = self.working.pop(ref, None) or (self.starting.pop(ref), None)
            try:
                result = self.ray.get(ref)
            except self.ray.exceptions.RayTaskError as error:
                # The shard function's own error, as any executor raises it; Ray's shows where.
                raise error.cause from error
            except self.ray.exceptions.RayError as error:
                self._replace(worker, tasks, index, error=error)
                if index is not None:
                    waiting.appendleft(index)
                continue
            if waiting:
                following = waiting.popleft()
                task_ref = worker.run.remote(*self.shared, tasks[following])
                self.working[task_ref] = (worker, following)
            else:
                self._end(worker)
            if index is None:
                del self.losses[None]
            else:
                yield index, result

    def dismiss(self) -> None:
        """End all workers."""
        for worker in list(self.hired):
            self._end(worker)

    def _hire(self) -> None:
        worker = self.worker_class.remote()
        self.hired.add(worker)
        self.starting[worker.__ray_ready__.remote()] = worker

    def _next_ref(self) -> Any:
        limit = None if self.working else self.executor.start_timeout_seconds
        refs, _ = self.ray.wait([*self.working, *self.starting], num_returns=1, timeout=limit)
        if not refs:
            in_all, free = self.ray.cluster_resources(), self.ray.available_resources()
            raise TimeoutError(
                f"no worker started within {limit:g} s: each takes {self.executor.needs}, the "
                f"cluster has {_sizes(in_all)} of which {_sizes(free)} are free; add nodes, or "
                "lower cpus_per_worker or gpus_per_model_worker in [shards.ray]"
            )
        return refs[0]

    def _replace(
        self, worker: Any, tasks: Sequence[Any], index: int | None, *, error: Exception
    ) -> None:
        self._end(worker)
        self.losses[index] += 1
        if self.losses[index] > self.executor.max_retries:
            what = "starting a worker" if index is None else repr(tasks[index])
            error.add_note(
                f"gave up on {what} after {self.executor.max_retries} retries: its workers died, "
                "often for lack of memory (see Ray's logs on the node). Finished shards are kept"
            )
            raise error
        logger.warning("a worker on Ray was lost, another one takes its place: %s", error)
        self._hire()

    def _end(self, worker: Any) -> None:
        # What ended the run may have taken the cluster with it.
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(worker)
        self.hired.discard(worker)


def _versions() -> dict[str, str | None]:
    return {name: _version(name) for name in CHECKED_LIBRARIES}


def _version(name: str) -> str | None:
    try:
        # The build for a CPU and that for a GPU have one version, before the plus sign.
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def _store_id(store: Path) -> str | None:
    path = store / STORE_ID
    if not path.exists():
        store.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            file.write(uuid4().hex)
    return _read(path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _sizes(resources: Mapping[str, float]) -> str:
    return f"{resources.get('CPU', 0.0):g} CPUs and {resources.get('GPU', 0.0):g} GPUs"
