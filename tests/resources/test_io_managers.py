"""Assets find each other's outputs: references, with and without partitions."""

import json

import dagster as dg
import pytest

from synpref_dagster.resources.io_managers import GATHERS, RefIOManager
from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef

SIZES = dg.StaticPartitionsDefinition(["qwen3-0.6b", "qwen3-0.8b", "llama-3.1-8b-40m"])
POOL = DatasetRef("/data/pool", 7, "f0")


def materialize(assets, base_uri, **kwargs):
    return dg.materialize(assets, resources={"refs": RefIOManager(base_uri=base_uri)}, **kwargs)


def metadata_of(result, key):
    [event] = result.asset_materializations_for_node(key)
    return {name: entry.value for name, entry in event.metadata.items()}


@dg.asset(io_manager_key="refs")
def pool() -> DatasetRef:
    return POOL


@dg.asset(io_manager_key="refs", key_prefix=["iteration_01"])
def selection(pool: DatasetRef) -> SelectionRef:
    return SelectionRef(kept=pool, dropped=DatasetRef("/data/dropped", 2, "f1"))


@dg.asset(io_manager_key="refs", partitions_def=SIZES)
def model(context: dg.AssetExecutionContext) -> ModelRef:
    return ModelRef(f"/models/{context.partition_key}", "f2")


@pytest.mark.parametrize("base", ["local", "memory://io-managers"])
def test_references_travel_between_assets(tmp_path, base):
    base_uri = str(tmp_path) if base == "local" else base
    result = materialize([pool, selection], base_uri)
    assert result.output_for_node("iteration_01__selection").kept == POOL
    assert metadata_of(result, "pool")["dagster/row_count"] == 7
    assert metadata_of(result, "iteration_01__selection")["num_dropped"] == 2


def test_a_reference_is_one_readable_file_per_asset(tmp_path):
    materialize([pool], str(tmp_path))
    assert json.loads((tmp_path / "pool.json").read_text())["uri"] == "/data/pool"
    assert [path.name for path in tmp_path.iterdir()] == ["pool.json"]


def test_a_reference_at_the_place_of_another_asset_is_refused_by_name(tmp_path):
    for size in SIZES.get_partition_keys():
        materialize([model], str(tmp_path), partition_key=size)
    first, second = (tmp_path / "model" / f"{size}.json" for size in SIZES.get_partition_keys()[:2])
    first.write_bytes(second.read_bytes())

    @dg.asset(partitions_def=SIZES)
    def release(model: ModelRef) -> None:
        pass

    with pytest.raises(ValueError, match=r"qwen3-0\.6b\.json.*written for model/qwen3-0\.8b"):
        materialize(
            [release, model], str(tmp_path), selection=[release], partition_key="qwen3-0.6b"
        )


def test_mappings_of_references_and_plain_json_travel_too(tmp_path):
    value = {"gold": POOL, "accuracy": 0.5, "reasons": ["tie"]}

    @dg.asset(io_manager_key="refs")
    def outcome() -> dict:
        return value

    @dg.asset(io_manager_key="refs")
    def reader(outcome: dict) -> dict:
        assert outcome == value
        return {}

    assert materialize([outcome, reader], str(tmp_path)).success


def test_partitions_are_files_of_their_own_and_never_collide(tmp_path):
    for size in ["qwen3-0.6b", "qwen3-0.8b"]:
        materialize([model], str(tmp_path), partition_key=size)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "qwen3-0.6b.json",
        "qwen3-0.8b.json",
    ]


def test_all_partitions_load_as_a_dict(tmp_path):
    seen = {}

    @dg.asset(io_manager_key="refs")
    def leaderboard(model: dict[str, ModelRef]) -> dict:
        seen.update(model)
        return {}

    for size in SIZES.get_partition_keys():
        materialize([model], str(tmp_path), partition_key=size)
    materialize([model, leaderboard], str(tmp_path), selection=[leaderboard])
    assert seen == {size: ModelRef(f"/models/{size}", "f2") for size in SIZES.get_partition_keys()}


@pytest.mark.parametrize("allowed", [True, False])
def test_missing_partitions_fail_unless_the_input_allows_them(tmp_path, allowed):
    seen = {}

    @dg.asset(
        io_manager_key="refs",
        ins={"model": dg.AssetIn(metadata={"allow_missing_partitions": allowed})},
    )
    def leaderboard(model: dict[str, ModelRef]) -> dict:
        seen.update(model)
        return {}

    for size in ["qwen3-0.6b", "qwen3-0.8b"]:
        materialize([model], str(tmp_path), partition_key=size)
    result = materialize(
        [model, leaderboard], str(tmp_path), selection=[leaderboard], raise_on_error=False
    )
    assert result.success is allowed
    assert sorted(seen) == (["qwen3-0.6b", "qwen3-0.8b"] if allowed else [])


@pytest.mark.parametrize("is_made", [True, False])
def test_a_lone_partition_is_gathered_by_its_name_too(tmp_path, is_made):
    seen = []

    @dg.asset(io_manager_key="refs", partitions_def=dg.StaticPartitionsDefinition(["mine"]))
    def model() -> ModelRef:
        return ModelRef("/models/mine", "f2")

    @dg.asset(
        io_manager_key="refs",
        ins={"model": dg.AssetIn(metadata={GATHERS: True})},
    )
    def leaderboard(model: dict[str, ModelRef]) -> dict:
        seen.append(model)
        return {}

    if is_made:
        materialize([model], str(tmp_path), partition_key="mine")
    materialize([model, leaderboard], str(tmp_path), selection=[leaderboard])
    assert seen == [{"mine": ModelRef("/models/mine", "f2")} if is_made else {}]
