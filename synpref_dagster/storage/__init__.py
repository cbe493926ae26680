"""Data sets on disk or in an object store: immutable, content-addressed, resumable.

`refs` what assets hand each other; `sealed` JSON that carries its hash, and `damage` files that
are compared with theirs; `manifest` what makes a folder a data set; `dataset` write,
build and read; `lookup` single rows by id; `frames` the same for pandas; `arrow_types` casts,
and which columns get a dictionary; `revising` new states that share shards with old ones;
`maps` the work on shards and where it runs; `uris` local paths and S3; `atomic` local files that
appear whole; `private` files that are their owner's alone; `processes` which process owns a run;
`writers` which campaign a store. Stands alone: no other package of the project is imported here.

What does not belong here: what a row means. The record is in `pairs/`, quarantined rows in
`sources/records.py`, and what is computed per shard in the `shards.py` beside its rule.
"""

from synpref_dagster.storage.dataset import (
    build_dataset,
    iter_tables,
    read_table,
    select_rows,
    shard_uris,
    verify,
    write_dataset,
)
from synpref_dagster.storage.frames import read_frame, to_frame
from synpref_dagster.storage.lookup import find_rows, ids_with_prefix, lowest_ids
from synpref_dagster.storage.manifest import (
    Manifest,
    Shard,
    find_manifest,
    hash_json,
    make_ref,
    read_manifest,
    step_key,
)
from synpref_dagster.storage.maps.executors import (
    InProcessExecutor,
    ProcessPoolShardExecutor,
    ShardExecutor,
)
from synpref_dagster.storage.maps.shards import MapResult, map_shards
from synpref_dagster.storage.maps.variants import VariantsResult, map_variants
from synpref_dagster.storage.refs import DatasetRef, ModelRef, SelectionRef, from_json, to_json
from synpref_dagster.storage.revising import revise_dataset
from synpref_dagster.storage.uris import join_uri, to_path

__all__ = [
    "DatasetRef",
    "InProcessExecutor",
    "Manifest",
    "MapResult",
    "ModelRef",
    "ProcessPoolShardExecutor",
    "SelectionRef",
    "Shard",
    "ShardExecutor",
    "VariantsResult",
    "build_dataset",
    "find_manifest",
    "find_rows",
    "from_json",
    "hash_json",
    "ids_with_prefix",
    "iter_tables",
    "join_uri",
    "lowest_ids",
    "make_ref",
    "map_shards",
    "map_variants",
    "read_frame",
    "read_manifest",
    "read_table",
    "revise_dataset",
    "select_rows",
    "shard_uris",
    "step_key",
    "to_frame",
    "to_json",
    "to_path",
    "verify",
    "write_dataset",
]
