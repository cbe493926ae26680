"""Everything that computes asks one place on what, and in which numbers."""

import ast
import multiprocessing
from pathlib import Path

import pytest
import torch

import synpref_dagster
from synpref_dagster.reward import devices, scoring
from synpref_dagster.reward.attention import tree_attention
from synpref_dagster.reward.attention.batching import pack_budget
from synpref_dagster.reward.attention.forward import Mode, verified_forward
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.checkpoints import load_classifier
from synpref_dagster.reward.devices import (
    best_device,
    num_cores,
    on_all_cores,
    on_cores,
    reading_dtype,
    training_dtype,
)
from synpref_dagster.reward.from_profile import configuration
from synpref_dagster.reward.frozen import shards as frozen_shards
from synpref_dagster.reward.shards import open_scorer
from synpref_dagster.settings.models import (
    BackboneSettings,
    FrozenSettings,
    HubReleaseSettings,
    HubSettings,
)

PACKAGE = Path(synpref_dagster.__file__).parent
NAMES_DEVICES = {  # budgets and speeds by device; none of them chooses one
    "reward/attention/batching.py",
    "reward/devices.py",
    "reward/frozen/features.py",
    "reward/prediction/machines.py",
}


@pytest.fixture
def machine(monkeypatch):
    """Makes PyTorch believe that it runs on a machine."""

    def pretend(*, cuda=False, mps=False, half=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: half)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: half)

    return pretend


@pytest.mark.parametrize(
    ("there", "device", "reads"),
    [
        ({"cuda": True}, "cuda", "bfloat16"),
        ({"cuda": True, "mps": True}, "cuda", "bfloat16"),
        ({"cuda": True, "half": False}, "cuda", "float32"),
        ({"mps": True}, "mps", "float32"),
        ({}, "cpu", "bfloat16"),
        ({"half": False}, "cpu", "float32"),
    ],
)
def test_the_best_device_that_is_there_is_taken(machine, there, device, reads):
    machine(**there)
    assert best_device() == device
    assert reading_dtype() == reads


def test_apples_chips_train_in_float32_unless_a_row_says_otherwise(machine):
    assert [training_dtype("bfloat16", device) for device in ("cuda", "mps", "cpu")] == [
        "bfloat16", "float32", "bfloat16",
    ]  # fmt: skip
    machine(mps=True)
    own = (BackboneSettings(name="qwen3-0.6b", dtype="bfloat16"),)
    for rows, dtype in (((), "float32"), (own, "bfloat16")):
        for settings in (HubSettings(backend="hub"), HubReleaseSettings(backend="hub")):
            config = configuration(settings, backbone("qwen3-0.6b", rows), final=False, seed=0)
            assert (config.device, config.dtype) == ("mps", dtype)
            assert config.pack_budget == pack_budget("cpu")
    frozen_config = configuration(
        FrozenSettings(backend="frozen"), backbone("qwen3-0.6b"), final=False, seed=0
    )
    assert frozen_config.dtype == "float32"


class ReachedError(Exception):
    pass


@pytest.mark.parametrize("device", ["cuda", "mps", "cpu"])
def test_scoring_and_reading_go_to_the_best_device(machine, monkeypatch, tmp_path, device):
    def opened(*_, device, **__):
        raise ReachedError(device)

    machine(cuda=device == "cuda", mps=device == "mps")
    monkeypatch.setattr(scoring, "load_reward_model", opened)
    monkeypatch.setattr(frozen_shards, "opened_reader", opened)
    monkeypatch.setattr(frozen_shards, "shard_pairs", lambda *_: [])
    with pytest.raises(ReachedError, match=device):
        open_scorer(str(tmp_path))
    with pytest.raises(ReachedError, match=device):
        frozen_shards.read_shard(None, None, reading=None, home=tmp_path)


def test_nobody_else_names_a_device():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in ("cuda", "mps", "cuda:0")
    }
    assert found == NAMES_DEVICES


def test_a_device_without_the_kernels_is_forwarded_in_padded_batches(
    monkeypatch, caplog, make_folder, tmp_path
):
    def missing(*_, **__):
        raise NotImplementedError("The operator is not currently implemented for the MPS device")

    monkeypatch.setattr(tree_attention, "_flash", missing)
    monkeypatch.setattr(tree_attention, "scaled_dot_product_attention", missing)
    model = load_classifier(str(make_folder(tmp_path, "qwen3-0.6b")), new_head_seed=0)
    assert verified_forward(model).mode is Mode.PADDED
    assert "its batches are padded" in caplog.text


def threads_within(queue):
    with on_all_cores("cpu"):
        queue.put(torch.get_num_threads())


def test_a_worker_of_a_map_keeps_to_its_threads():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=threads_within, args=(queue,))
    worker.start()
    assert queue.get(timeout=60) == torch.get_num_threads() == 1
    worker.join()


def test_threads_are_what_they_were_afterwards():
    before = torch.get_num_threads()
    seen = []

    def fails():
        with on_cores(3):
            seen.append(torch.get_num_threads())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert seen == [3]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("asked", "threads"), [("1", 5), ("", 5), ("many", 5), ("3", 3)])
def test_all_cores_but_where_somebody_asks_for_a_number(monkeypatch, asked, threads):
    monkeypatch.setattr(devices, "num_cores", lambda: 5)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    with on_all_cores("cpu"):
        assert torch.get_num_threads() == threads


def test_cores_are_those_that_the_process_may_use():
    assert num_cores() >= 1


def test_another_device_leaves_the_threads_alone(monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 5)
    before = torch.get_num_threads()
    with on_all_cores("cuda"):
        assert torch.get_num_threads() == before
