"""Damage at rest: a flipped bit never becomes a result, and a second start heals what it can."""

import contextlib
import json
import os
import random
import shutil
from dataclasses import replace

import pyarrow as pa
import pytest

from synpref_dagster.storage import (
    build_dataset,
    find_manifest,
    map_shards,
    read_manifest,
    read_table,
    step_key,
    to_path,
    write_dataset,
)
from synpref_dagster.storage.damage import (
    ASIDE,
    CHECKSUMS,
    DamagedShardError,
    check_folder,
    keep_checksums,
    made_whole,
    write_checksums,
)
from synpref_dagster.storage.dataset import read_shard
from synpref_dagster.storage.sealed import SEAL, DamagedError

TABLE = pa.table({"n": list(range(200)), "text": [f"row {n}" for n in range(200)]})


def flip(file, rng):
    """Flips one bit and leaves size and time of change as they were."""
    about, content = file.stat(), bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


def swap(first, second):
    """Two files change places."""
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])


def double(table):
    """A shard function."""
    return pa.table({"n": [2 * n for n in table["n"].to_pylist()]})


def build(uri):
    return build_dataset(
        uri, step=step_key(version="1", inputs=[], params={}), compute=lambda: TABLE
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_in_a_shard_is_refused_by_name_and_healed_by_the_next_start(tmp_path, seed):
    ref = build(str(tmp_path))
    assert read_table(ref).equals(TABLE)
    [shard] = (tmp_path / "shards").iterdir()
    flip(shard, random.Random(seed))
    with pytest.raises(DamagedShardError, match=shard.name):
        read_table(ref)
    assert shard.with_name(shard.name + ASIDE).is_file()
    assert build(str(tmp_path)) == ref
    assert read_table(ref).equals(TABLE)


@pytest.mark.parametrize("store", ["memory", pytest.param("s3", marks=pytest.mark.servers)])
def test_damage_in_an_object_store_is_refused_by_name_and_healed(tmp_path, request, store):
    root = f"memory://{tmp_path.name}"
    if store == "s3":
        root = f"s3://{request.getfixturevalue('s3_server').bucket}/pool"
    source = write_dataset(f"{root}/in", TABLE, step="a", max_shard_rows=50)
    once = map_shards(double, source, uri=f"{root}/out", version="1").ref
    for names in ("*.parquet", "*.json"):
        for path in (to_path(root) / "out").rglob(names):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 4
            path.write_bytes(bytes(content))
        for _ in range(4 if names == "*.parquet" else 0):
            again = map_shards(double, source, uri=f"{root}/out", version="1").ref
            with pytest.raises(DamagedShardError, match="parquet was damaged at rest"):
                read_table(again)
        again = map_shards(double, source, uri=f"{root}/out", version="1").ref
        assert again == once
        assert read_table(again)["n"].to_pylist() == [2 * n for n in range(200)]
    aside = [path.name for path in (to_path(root) / "out" / "shards").iterdir()]
    assert sum(name.endswith(ASIDE) for name in aside) == 4


@pytest.mark.parametrize("damage", ["cut", "emptied", "removed"])
def test_a_shard_cut_emptied_or_removed_is_computed_again(tmp_path, damage):
    ref = build(str(tmp_path))
    [shard] = (tmp_path / "shards").iterdir()
    content = shard.read_bytes()
    shard.unlink()
    if damage != "removed":
        shard.write_bytes(content[:100] if damage == "cut" else b"")
    with pytest.raises(ValueError, match=shard.name):
        read_table(ref)
    assert build(str(tmp_path)) == ref
    assert shard.read_bytes() == content


def test_a_shard_of_an_earlier_version_is_compared_with_its_name(tmp_path):
    source = write_dataset(str(tmp_path), TABLE, step="a")
    [shard] = read_manifest(source).shards
    file = tmp_path / "shards" / shard.name
    earlier = replace(shard, check="")
    assert read_shard(str(tmp_path), earlier).equals(TABLE)
    flip(file, random.Random(0))
    with pytest.raises(DamagedShardError, match=shard.name):
        read_shard(str(tmp_path), earlier)


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_in_any_json_of_a_map_gives_the_same_data_set(tmp_path, seed):
    source = write_dataset(str(tmp_path / "in"), TABLE, step="a", max_shard_rows=50)
    once = map_shards(double, source, uri=str(tmp_path / "out"), version="1").ref
    files = sorted((tmp_path / "out").rglob("*.json"))
    rng = random.Random(seed)
    flip(rng.choice(files), rng)
    again = map_shards(double, source, uri=str(tmp_path / "out"), version="1").ref
    assert again == once
    assert read_table(again)["n"].to_pylist() == [2 * n for n in range(200)]
    assert read_manifest(again).num_rows == 200


def test_markers_and_shards_that_changed_places_give_the_same_data_set(tmp_path):
    source = write_dataset(str(tmp_path / "in"), TABLE, step="a", max_shard_rows=50)
    out = str(tmp_path / "out")
    once = map_shards(double, source, uri=out, version="1").ref
    (tmp_path / "out" / "known_tasks.json").unlink()
    shutil.rmtree(tmp_path / "out" / "steps")
    swap(*sorted((tmp_path / "out" / "tasks").iterdir())[:2])
    assert map_shards(double, source, uri=out, version="1").ref == once
    swap(*sorted((tmp_path / "out" / "shards").iterdir())[:2])
    for _ in range(2):
        with contextlib.suppress(ValueError):  # One is set aside at a time, by name.
            read_table(once)
    assert map_shards(double, source, uri=out, version="1").ref == once
    assert read_table(once)["n"].to_pylist() == [2 * n for n in range(200)]


def test_a_damaged_current_manifest_leaves_the_newest_of_those_kept(tmp_path):
    ref = build(str(tmp_path))
    (tmp_path / "manifest.json").write_text("torn")
    assert find_manifest(str(tmp_path)).fingerprint == ref.fingerprint


def test_a_manifest_of_an_earlier_version_has_no_seal_and_is_read(tmp_path):
    ref = build(str(tmp_path))
    for file in tmp_path.rglob("*.json"):
        document = json.loads(file.read_text())
        del document[SEAL]
        file.write_text(json.dumps(document))
    assert build(str(tmp_path)) == ref
    assert read_table(ref).equals(TABLE)


def folder(tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_damaged_file_of_a_folder_is_refused_with_its_name_and_the_remedy(tmp_path):
    write_checksums(folder(tmp_path))
    check_folder(tmp_path, remedy="train it again")
    flip(tmp_path / "weights", random.Random(0))
    with pytest.raises(DamagedError, match=r"weights is damaged at rest: train it again"):
        check_folder(tmp_path, remedy="train it again")
    (tmp_path / "weights").unlink()
    with pytest.raises(DamagedError, match="weights is missing"):
        check_folder(tmp_path, remedy="train it again")


def test_damaged_checksums_are_refused_too(tmp_path):
    write_checksums(folder(tmp_path))
    (tmp_path / CHECKSUMS).write_bytes((tmp_path / CHECKSUMS).read_bytes().replace(b"e", b"f"))
    with pytest.raises(DamagedError, match=CHECKSUMS):
        check_folder(tmp_path, remedy="train it again")


def test_a_folder_of_an_earlier_version_passes_and_is_recorded_once(tmp_path, caplog):
    check_folder(folder(tmp_path), remedy="")
    keep_checksums(tmp_path)
    keep_checksums(tmp_path)
    assert ["no checksums" in record.getMessage() for record in caplog.records] == [True]
    assert (tmp_path / CHECKSUMS).is_file()


def test_a_damaged_folder_that_is_cheap_to_make_is_made_again(tmp_path):
    made_whole(tmp_path, is_made=False, make=lambda: folder(tmp_path))
    flip(tmp_path / "weights", random.Random(0))
    made_whole(tmp_path, is_made=True, make=lambda: folder(tmp_path))
    assert (tmp_path / "weights").read_bytes() == b"weights"
