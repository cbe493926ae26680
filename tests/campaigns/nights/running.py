"""How a night is run: in this process, killed or broken off in another one, or two at once."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from synpref_dagster.cli.campaign import PROCESS_TAG, end_dead_runs
from synpref_dagster.cli.instance import open_instance
from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage.processes import process_name

PRELOAD = ["synpref_dagster.definitions.preload"]
WAIT_SECONDS, POLL_SECONDS = 600, 0.2


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be run, as a process of its own can be told."""

    base: str
    """Where store and MLflow's database are."""
    profile: str
    """Path of the profile."""
    job: str = "filter_pool"
    home: str = "home"
    """The Dagster instance, below `base`; "" takes one that keeps nothing."""
    versions: dict = field(default_factory=dict)
    """Asset -> code version in place of its own."""
    partition: str | None = None
    groups: tuple = ()
    """Beginnings of the groups of assets that are run; none takes the whole job."""

    @contextmanager
    def environment(self):
        """The environment of a command that works there."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNPREF_STORE", f"{self.base}/store")
            patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{self.base}/mlflow.db")
            patch.setenv("DAGSTER_HOME", f"{self.base}/{self.home}")
            yield

    def instance(self):
        """Its Dagster instance."""
        return open_instance() if self.home else dg.DagsterInstance.ephemeral()

    def definitions(self):
        """The project as a code location loads it now."""
        defs = build_defs(self.profile)
        return with_versions(defs, self.versions) if self.versions else defs


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    success: bool
    said: str = ""
    """What failing steps said."""
    failed: tuple = ()
    """The assets that failed."""
    metrics: dict = field(default_factory=dict)
    """Asset -> the numbers of its metadata."""
    num_writes: int = 0


def with_versions(defs, versions):
    """The same project, in which the code of some assets is another."""

    def changed(spec):
        name = spec.key.to_user_string()
        return spec.replace_attributes(code_version=versions.get(name, spec.code_version))

    return defs.map_resolved_asset_specs(func=changed)


def run(order, *, wait=lambda: None):
    """Run a job to its end in this process.

    Args:
        order: what is run.
        wait: called when everything is ready.
    """
    writes.watch()
    with order.environment(), order.instance() as instance:
        defs = order.definitions()
        job = defs.resolve_job_def(order.job)
        graph = defs.resolve_asset_graph()
        wanted = [
            key
            for key in sorted(job.asset_layer.selected_asset_keys)
            if graph.get(key).group_name.startswith(order.groups or "")
        ]
        wait()
        end_dead_runs(instance)
        before = writes.number
        result = job.execute_in_process(
            instance=instance,
            partition_key=order.partition,
            asset_selection=wanted if order.groups else None,
            tags={PROCESS_TAG: process_name()},
            raise_on_error=False,
        )
        return _outcome(result, num_writes=writes.number - before)


def _outcome(result, *, num_writes):
    failures = [event for event in result.all_events if event.is_step_failure]
    metrics = {}
    for event in result.get_asset_materialization_events():
        found = event.step_materialization_data.materialization.metadata
        numbers = {n: v.value for n, v in found.items() if isinstance(v.value, int | float)}
        metrics[event.asset_key.to_user_string()] = numbers
    return Outcome(
        success=result.success,
        said=" ".join(event.step_failure_data.error.to_string() for event in failures),
        failed=tuple(event.step_key for event in failures),
        metrics=metrics,
        num_writes=num_writes,
    )


def tick(order):
    """Why the schedule asks for a night, and None; or None, and why it asks for none."""
    with order.environment(), order.instance() as instance:
        defs = order.definitions()
        resources = build_resources(load_profile(order.profile))
        with dg.build_schedule_context(
            instance=instance,
            repository_def=defs.get_repository_def(),
            resources={name: resources[name] for name in ("campaign", "sources")},
        ) as context:
            found = defs.resolve_schedule_def("nightly_filtering").evaluate_tick(context)
    if found.run_requests:
        return found.run_requests[0].tags["synpref/reason"], None
    return None, found.skip_message


class Stopped(BaseException):
    """As Ctrl-C: nobody expects it, and it may come at any write."""


class Writes:
    """Counts what this process writes, and can end it at one of them."""

    def __init__(self):
        self.number, self._last, self._how, self._watches = 0, None, None, False

    def watch(self):
        """Begin to count, which never ends: Python takes no hook back."""
        if not self._watches:
            sys.addaudithook(self._seen)
        self._watches = True

    def stop_at(self, number, how):
        """End the process ("kill") or break it off ("break") at the write of this number."""
        self._last, self._how = self.number + number, how

    def _seen(self, event, args):
        if event not in ("open", "os.rename", "os.remove", "sqlite3.connect"):
            return
        if event == "open" and not (isinstance(args[1], str) and set(args[1]) & set("wax")):
            return
        if threading.current_thread() is not threading.main_thread():
            return
        self.number += 1
        if self.number != self._last:
            return
        if self._how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise Stopped


writes = Writes()


def _apart(order, target, stop, barrier):
    """What a process of its own does: see `apart` and `at_once`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def wait():
        if barrier is not None:
            barrier.wait(WAIT_SECONDS)
        if stop is not None:
            writes.stop_at(*stop)

    try:
        outcome = run(order, wait=wait)
    except Stopped:
        os._exit(1)
    Path(target).write_text(json.dumps(asdict(outcome)))


def _start(order, name, *, stop=None, barrier=None):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    target = f"{order.base}/{name}.json"
    Path(target).unlink(missing_ok=True)
    process = context.Process(target=_apart, args=(order, target, stop, barrier))
    process.start()
    return process, Path(target)


def _ended(process, target):
    process.join(WAIT_SECONDS)
    assert process.exitcode is not None, "a night never ended"
    if not target.exists():
        return None
    told = json.loads(target.read_text())
    return Outcome(**{**told, "failed": tuple(told["failed"])})  # JSON knows lists only


def apart(order, *, stop=None):
    """Run in a process of its own; what came of it, None when it was stopped on the way.

    Args:
        order: what is run.
        stop: the number of the write at which it ends, and how ("kill" or "break").
    """
    return _ended(*_start(order, "apart", stop=stop))


def at_once(*orders, meanwhile=lambda: None):
    """Run several at the same moment, each in a process of its own; what came of each.

    Args:
        orders: what is run.
        meanwhile: called again and again while one of them is under way.
    """
    barrier = multiprocessing.get_context("forkserver").Barrier(len(orders))
    started = [
        _start(order, f"at_once_{number}", barrier=barrier) for number, order in enumerate(orders)
    ]
    while any(process.is_alive() for process, _ in started):
        meanwhile()
        time.sleep(POLL_SECONDS)
    return [_ended(*each) for each in started]
