"""Jobs that Ray workers of the tests import, and a run that gets killed."""

import os
import signal
import sys
import time
from pathlib import Path

from shard_functions import build_numbers, double

from synpref_dagster.storage import map_shards
from synpref_dagster.storage.maps.ray import RayShardExecutor


def reciprocal(task):
    """One divided by the task."""
    return 1 / task


def process_of(_task):
    """Which process works."""
    time.sleep(0.02)
    return os.getpid()


def count_running(task):
    """How many tasks of a folder are worked on while this one is."""
    folder, number = task
    mark = Path(folder, str(number))
    mark.touch()
    time.sleep(0.05)
    num_running = len(list(Path(folder).iterdir()))
    mark.unlink()
    return num_running


def die_once(table, *, folder):
    """Kills its process the first time it sees the shard that holds 17."""
    mark = Path(folder, "died")
    if 17 in table["n"].to_pylist() and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return double(table)


def die_at_three(task):
    """Kills its process at task 3, however often it is tried."""
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def visible_gpus(_task):
    """The GPUs that the worker was given."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def start_small_cluster():
    """Ray on this machine, as small as it gets; its one GPU exists in Ray's books only."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        object_store_memory=100 << 20,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
    )


def lose_a_node(uri):
    """Maps over shards on two nodes and takes one away: shards computed, fingerprint, losses."""
    import ray
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "num_cpus": 0})
    doomed = cluster.add_node(**small)
    lost = []

    def connect():
        ray.init(address=cluster.address, logging_level="error", log_to_driver=False)

    def on_progress(done, _total):
        if done == 2:  # Its worker is in the middle of the third shard.
            cluster.add_node(**small)
            cluster.remove_node(doomed, allow_graceful=False)
            lost.append(doomed)

    mapped = map_shards(
        double,
        build_numbers(f"{uri}/in"),
        uri=f"{uri}/out",
        version="1",
        params={"seconds": 0.5},
        executor=RayShardExecutor(connect, num_workers=1, store=uri),
        on_progress=on_progress,
    )
    ray.shutdown()
    cluster.shutdown()
    return f"{mapped.num_shards_computed} {mapped.ref.fingerprint} {len(lost)}"


def main(uri):
    """Maps slowly on Ray and says so for every shard; meant to be killed."""
    map_shards(
        double,
        build_numbers(f"{uri}/in"),
        uri=f"{uri}/out",
        version="1",
        params={"seconds": 0.5},
        executor=RayShardExecutor(start_small_cluster, num_workers=2),
        on_progress=lambda done, total: print(done, total, flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
