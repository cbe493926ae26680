"""The data layer on a real S3 server: the same behaviour as on a local folder."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from shard_functions import HELD_FROM, build_numbers, double, split_even

from synpref_dagster.pairs.record import PreferencePair, pairs_to_table
from synpref_dagster.resources.io_managers import RefIOManager
from synpref_dagster.storage import (
    DatasetRef,
    ProcessPoolShardExecutor,
    find_manifest,
    map_shards,
    read_table,
    select_rows,
    to_path,
    verify,
    write_dataset,
)
from synpref_dagster.storage.uris import file_sizes, read_bytes, write_bytes
from synpref_dagster.storage.writers import StoreInUseError, Work, writing

pytestmark = pytest.mark.servers

SCRIPT = Path(__file__).parent / "maps" / "shard_functions.py"
PAIRS = [
    PreferencePair(
        conversation=({"role": "user", "content": f"question {n}"},),
        chosen="good",
        rejected="bad",
        source="hand",
        origin="human",
    )
    for n in range(6)
]


def test_files_are_put_listed_and_got(s3_server):
    root = to_path(f"s3://{s3_server.bucket}/files")
    assert file_sizes(root) == {}
    assert read_bytes(root / "a b ü.txt") is None
    write_bytes(root / "a b ü.txt", b"123")
    write_bytes(root / "below" / "x", b"")
    assert read_bytes(root / "a b ü.txt") == b"123"
    assert file_sizes(root) == {"a b ü.txt": 3}


def test_pairs_and_selected_rows_come_back_equal(s3_server):
    table = pairs_to_table(PAIRS)
    ref = write_dataset(
        f"s3://{s3_server.bucket}/pairs", [table.slice(0, 4), table.slice(4)], step="s1"
    )
    assert read_table(ref).equals(table)
    assert read_table(ref, ["chosen"]).column_names == ["chosen"]
    assert select_rows(ref, [PAIRS[5].pair_id]).equals(table.slice(5))
    verify(ref)


def test_a_shard_of_many_parts_comes_back_equal(s3_server):
    noise = pa.array([os.urandom(1 << 20) for _ in range(60)])  # Over s3fs's 50 MB parts.
    ref = write_dataset(f"s3://{s3_server.bucket}/big", pa.table({"noise": noise}), step="s1")
    assert read_table(ref)["noise"].combine_chunks().equals(noise)


def test_fingerprints_are_those_of_a_local_folder(s3_server, tmp_path):
    here, there = (build_numbers(uri) for uri in (str(tmp_path), f"s3://{s3_server.bucket}/in"))
    assert here.fingerprint == there.fingerprint


@pytest.mark.parametrize("executor", [None, ProcessPoolShardExecutor(2)])
def test_shards_are_mapped_and_reused(s3_server, executor):
    base = f"s3://{s3_server.bucket}"

    def run(source):
        return map_shards(
            split_even,
            source,
            uri=f"{base}/out",
            version="1",
            params={"modulus": 4},
            outputs=["kept", "dropped"],
            executor=executor,
        )

    first = run(build_numbers(f"{base}/in", num_shards=4))
    grown = run(build_numbers(f"{base}/in", num_shards=6))
    assert (grown.num_shards_computed, grown.num_shards_reused) == (2, 4)
    assert read_table(grown.outputs["kept"])["n"].to_pylist() == list(range(0, 30, 4))
    assert read_table(first.outputs["kept"])["n"].to_pylist() == list(range(0, 20, 4))


def test_a_killed_run_continues_where_it_stopped(s3_server):
    base = f"s3://{s3_server.bucket}/killed"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), HELD_FROM: "5"}
    command = [sys.executable, str(SCRIPT), base, "process"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        for _ in range(3):
            process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)

    assert find_manifest(f"{base}/out") is None
    resumed = map_shards(double, build_numbers(f"{base}/in"), uri=f"{base}/out", version="1")
    assert 3 <= resumed.num_shards_reused <= 5
    assert read_table(resumed.ref)["n"].to_pylist() == [2 * n for n in range(40)]


def test_a_torn_shard_is_computed_again(s3_server):
    uri = f"s3://{s3_server.bucket}/torn"
    ref = build_numbers(uri)
    [name, *_] = sorted(file_sizes(to_path(uri) / "shards"))
    write_bytes(to_path(uri) / "shards" / name, b"PAR1")
    with pytest.raises(ValueError, match="damaged at rest"):
        read_table(ref)
    assert build_numbers(uri) == ref
    verify(ref)


def test_references_between_assets_live_in_the_bucket(s3_server):
    sizes = dg.StaticPartitionsDefinition(["qwen3-0.6b", "qwen3-1.7b"])
    seen = {}

    @dg.asset(partitions_def=sizes)
    def scores(context: dg.AssetExecutionContext) -> DatasetRef:
        return DatasetRef(f"s3://x/{context.partition_key}", 1, "f0")

    @dg.asset
    def leaderboard(scores: dict[str, DatasetRef]) -> dict:
        seen.update(scores)
        return {}

    resources = {"io_manager": RefIOManager(base_uri=f"s3://{s3_server.bucket}/refs")}
    for size in sizes.get_partition_keys():
        dg.materialize([scores], partition_key=size, resources=resources)
    dg.materialize([scores, leaderboard], selection=[leaderboard], resources=resources)
    assert sorted(seen) == ["qwen3-0.6b", "qwen3-1.7b"]


def test_one_work_at_a_time_writes_a_store_in_the_bucket(s3_server):
    root = f"s3://{s3_server.bucket}/guarded/smoke/seed-0"
    mine = Work(campaign="smoke-seed-0", settings="a", instance="home")
    with writing(root, mine), writing(root, mine):
        with pytest.raises(StoreInUseError, match="under other settings") as caught:
            writing(root, replace(mine, settings="b")).__enter__()
        file = str(caught.value).rpartition(" delete ")[2]
        assert read_bytes(to_path(file)) is not None
    assert file_sizes(to_path(f"{root}/writers")) == {}
    with writing(root, replace(mine, settings="b")):
        assert len(file_sizes(to_path(f"{root}/writers"))) == 1
