"""Lineage follows what was read, not what is newest."""

import dagster as dg

from synpref_dagster.assets.release.lineage import lineage

SIZES = dg.StaticPartitionsDefinition(["small", "large"])
content = {"pool": "1"}


@dg.asset(code_version="7")
def pool():
    return dg.Output(1, data_version=dg.DataVersion(content["pool"]))


@dg.asset(code_version="2", partitions_def=SIZES)
def model(context, pool):
    return dg.Output(pool, data_version=dg.DataVersion(f"m-{context.partition_key}"))


def materialize(instance, *assets, partition=None):
    return dg.materialize(
        [pool, model], selection=list(assets), instance=instance, partition_key=partition
    )


def test_the_lineage_of_a_partition_is_what_it_read_then(tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        materialize(instance, pool)
        materialize(instance, model, partition="small")
        content["pool"] = "2"
        materialize(instance, pool)
        materialize(instance, model, partition="large")
        small = lineage(instance, dg.AssetKey("model"), partition="small")
        large = lineage(instance, dg.AssetKey("model"), partition="large")
    assert small["model"] == {
        "data_version": "m-small",
        "code_version": "2",
        "inputs": {"pool": "1"},
    }
    assert small["pool"] == {"data_version": "1", "code_version": "7", "inputs": {}}
    assert large["pool"]["data_version"] == "2"
