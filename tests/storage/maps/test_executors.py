"""Executors give every task its result, and stop at the first error."""

import pytest

from synpref_dagster.storage import InProcessExecutor, ProcessPoolShardExecutor


def reciprocal(task):
    return 1 / task


def test_in_process_runs_tasks_in_order():
    assert list(InProcessExecutor().run(reciprocal, [1, 2, 4])) == [(1, 1.0), (2, 0.5), (4, 0.25)]


def test_an_error_ends_the_run_after_what_came_before():
    results = InProcessExecutor().run(reciprocal, [1, 0, 2])
    assert next(results) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_pool_without_tasks_starts_no_process():
    assert list(ProcessPoolShardExecutor(2).run(reciprocal, [])) == []


def test_a_pool_needs_a_worker():
    with pytest.raises(ValueError, match="at least one worker, not 0"):
        ProcessPoolShardExecutor(0)
