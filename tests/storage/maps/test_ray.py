"""Mapping over shards on a real Ray cluster of this machine: the same bytes, whatever dies."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from ray_jobs import (
    count_running,
    die_at_three,
    die_once,
    process_of,
    reciprocal,
    start_small_cluster,
    visible_gpus,
)
from shard_functions import build_numbers, double, fail_at_seventeen, split_even

from synpref_dagster.storage import find_manifest, map_shards, read_table
from synpref_dagster.storage.maps.ray import RayShardExecutor, Surroundings, WorkerNeeds

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'synpref-dagster[ray]'")

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SCRIPT = Path(__file__).with_name("ray_jobs.py")
MARK = "RAY_TEST_MARK"


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two CPUs; its workers import what this process can import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        start_small_cluster()
        yield
        ray.shutdown()


@pytest.fixture
def on_ray(cluster):
    """Makes executors on the running cluster."""
    return partial(RayShardExecutor, lambda: None)


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_every_task_gets_its_result(on_ray):
    results = on_ray(num_workers=2).run(reciprocal, [1, 2, 4])
    assert sorted(results) == [(1, 1.0), (2, 0.5), (4, 0.25)]


def test_never_more_tasks_at_once_than_workers(on_ray, tmp_path):
    tasks = [(str(tmp_path), number) for number in range(10)]
    counts = [count for _, count in on_ray(num_workers=2).run(count_running, tasks)]
    assert len(counts) == 10
    assert max(counts) == 2


def test_workers_beyond_the_cluster_hold_nothing_up(on_ray):
    results = list(on_ray(num_workers=9).run(process_of, list(range(9))))
    assert sorted(task for task, _ in results) == list(range(9))
    assert len({process for _, process in results}) <= 2


def test_a_worker_keeps_its_process_from_shard_to_shard(on_ray):
    processes = [process for _, process in on_ray(num_workers=1).run(process_of, [0, 1, 2])]
    assert len(set(processes)) == 1
    assert processes[0] != os.getpid()


def test_all_files_of_a_map_are_those_of_a_run_in_process(on_ray, tmp_path):
    source = build_numbers(str(tmp_path / "in"))

    def run(uri, executor):
        return map_shards(
            split_even,
            source,
            uri=str(uri),
            version="1",
            params={"modulus": 4},
            outputs=["kept", "dropped"],
            executor=executor,
        )

    here = run(tmp_path / "here", None)
    there = run(tmp_path / "there", on_ray(num_workers=2, store=str(tmp_path)))
    assert there.num_shards_computed == 8
    assert files_below(tmp_path / "there") == files_below(tmp_path / "here")
    assert {"kept/manifest.json", "dropped/manifest.json"} < set(files_below(tmp_path / "there"))
    for name, ref in here.outputs.items():
        assert there.outputs[name].fingerprint == ref.fingerprint


def test_an_error_keeps_its_type_message_and_note_and_what_was_finished(on_ray, tmp_path):
    source = build_numbers(str(tmp_path / "in"))
    uri = str(tmp_path / "out")

    def run(function, executor):
        return map_shards(function, source, uri=uri, version="1", params={}, executor=executor)

    with pytest.raises(ArithmeticError) as error:
        run(fail_at_seventeen, on_ray(num_workers=1))
    assert type(error.value) is ArithmeticError
    assert str(error.value) == "seventeen"
    assert "while working on shard" in error.value.__notes__[0]
    assert "fail_at_seventeen" in str(error.value.__cause__)  # where it happened
    assert find_manifest(uri) is None

    # The function was repaired; another executor takes up what Ray's workers left.
    repaired = run(double, None)
    assert (repaired.num_shards_reused, repaired.num_shards_computed) == (3, 5)


def test_a_shard_whose_worker_is_killed_is_worked_on_again(on_ray, tmp_path):
    source = build_numbers(str(tmp_path / "in"))

    def run(function, uri, executor):
        return map_shards(function, source, uri=str(uri), version="1", params={}, executor=executor)

    fragile = partial(die_once, folder=str(tmp_path))
    survived = run(fragile, tmp_path / "out", on_ray(num_workers=2))
    assert (tmp_path / "died").exists()
    assert survived.num_shards_computed == 8
    undisturbed = run(double, tmp_path / "straight", None)
    assert survived.ref.fingerprint == undisturbed.ref.fingerprint


def test_shards_of_a_lost_node_are_worked_on_elsewhere(tmp_path):
    # In a process of its own: this one is connected to another cluster.
    program = "import sys, ray_jobs; print(ray_jobs.lose_a_node(sys.argv[1]))"
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    num_computed, fingerprint, num_lost = run.stdout.split()[-3:]
    undisturbed = map_shards(
        double,
        build_numbers(str(tmp_path / "in")),
        uri=str(tmp_path / "straight"),
        version="1",
        params={"seconds": 0.001},
    )
    assert num_computed == "8"
    assert fingerprint == undisturbed.ref.fingerprint
    assert num_lost == "1"


def test_a_task_that_kills_every_worker_ends_the_run_and_is_named(on_ray):
    done = []

    def run():
        for task, _ in on_ray(num_workers=1, max_retries=1).run(die_at_three, list(range(6))):
            done.append(task)

    with pytest.raises(ray.exceptions.RayError) as error:
        run()
    assert done == [0, 1, 2]
    [note] = [note for note in error.value.__notes__ if note.startswith("gave up on 3 ")]
    assert "after 1 retries" in note


def test_only_workers_that_hold_a_model_get_a_gpu(on_ray):
    [(_, given)] = on_ray(num_workers=1, needs=WorkerNeeds(num_gpus=1)).run(visible_gpus, [0])
    [(_, none)] = on_ray(num_workers=1).run(visible_gpus, [0])
    assert given == "0"
    assert not none


def test_workers_that_find_no_place_are_an_error_that_says_so(on_ray):
    greedy = on_ray(num_workers=1, needs=WorkerNeeds(num_gpus=8), start_timeout_seconds=0.5)
    with pytest.raises(TimeoutError, match=r"takes 1 CPUs and 8 GPUs, the cluster has 2 CPUs and"):
        list(greedy.run(reciprocal, [1]))


def test_a_worker_that_does_not_see_the_store_writes_nothing(on_ray, tmp_path, monkeypatch):
    source = build_numbers(str(tmp_path / "in"))
    # As on a node that mounts another disk at the same path.
    other = replace(Surroundings.of_driver(str(tmp_path)), store_id="another store")
    monkeypatch.setattr(Surroundings, "of_driver", lambda store: other)
    with pytest.raises(ValueError, match="does not see the store"):
        map_shards(
            double,
            source,
            uri=str(tmp_path / "out"),
            version="1",
            params={},
            executor=on_ray(num_workers=1, store=str(tmp_path)),
        )
    assert files_below(tmp_path / "out") == {}


def test_a_killed_driver_leaves_no_process_and_its_run_continues(on_ray, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), MARK: str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        for _ in range(3):
            assert process.stdout.readline()
        assert marked_processes(tmp_path)
        process.kill()
    wait_until_gone(tmp_path)

    uri = str(tmp_path / "out")
    assert find_manifest(uri) is None
    num_finished = len(list((tmp_path / "out" / "tasks").glob("*.json")))
    assert 3 <= num_finished < 8
    resumed = map_shards(
        double,
        build_numbers(str(tmp_path / "in")),
        uri=uri,
        version="1",
        params={"seconds": 0.5},
        executor=on_ray(num_workers=2),
    )
    assert resumed.num_shards_reused == num_finished
    assert resumed.num_shards_computed == 8 - num_finished
    assert read_table(resumed.ref)["n"].to_pylist() == [2 * n for n in range(40)]


def marked_processes(mark):
    """Processes that inherited the mark, a driver and the Ray that it started: id to name."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "cmdline").read_bytes().decode()
        except OSError:
            continue  # it ended, or is another user's
    return found


def wait_until_gone(mark, seconds=30):
    """Wait for all but Ray's two agents of a node, which notice a lost driver a minute later."""
    deadline = time.monotonic() + seconds
    while left := [name for name in marked_processes(mark).values() if "Agent" not in name]:
        assert time.monotonic() < deadline, f"{left} outlived their driver"
        time.sleep(0.1)
    for agent in marked_processes(mark):
        os.kill(agent, signal.SIGKILL)
