"""Where shards are worked on: in this process, or in a pool of processes.

An executor sees a job and independent tasks, never the data: jobs read and write their shards
themselves, so only small results travel between processes, and every executor gives equal bytes.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class ShardExecutor(Protocol):
    """Runs a job over tasks; a Ray or Slurm executor implements the same method."""

    def run(
        self, job: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, as they finish; the first error ends the run."""


class InProcessExecutor:
    """One task after the other, here."""

    def run(
        self, job: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """See `ShardExecutor`."""
        for task in tasks:
            yield task, job(task)


class ProcessPoolShardExecutor:
    """Tasks side by side in worker processes, which import the job's module afresh."""

    def __init__(self, max_workers: int = 2) -> None:
        """Keeps the number of worker processes.

        Raises:
            ValueError: fewer than one worker.
        """
        if max_workers < 1:
            raise ValueError(f"a process pool needs at least one worker, not {max_workers}")
        self.max_workers = max_workers

    def run(
        self, job: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """See `ShardExecutor`; the job is sent once per worker, tasks and results each time."""
        if not tasks:
            return
        # Never fork: the parent may hold threads (Arrow, OpenMP, an object store client).
        with ProcessPoolExecutor(
            max_workers=min(self.max_workers, len(tasks)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_set_job,
            initargs=(job,),
        ) as pool:
            futures: dict[Future[Any], Task] = {pool.submit(_run_job, t): t for t in tasks}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:
                # Whatever ends the run early, do not start what has not started yet.
                pool.shutdown(wait=False, cancel_futures=True)
                raise


_JOB: Callable[[Any], Any] | None = None


def _set_job(job: Callable[[Any], Any]) -> None:
    global _JOB
    _JOB = job


def _run_job(task: Any) -> Any:
    assert _JOB is not None, "the initializer of the pool sets the job"
    return _JOB(task)
