import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from synpref_dagster.pairs.record import pairs_to_table
from synpref_dagster.reward.attention.batching import pack_units
from synpref_dagster.reward.training.distributed import share_packs
from synpref_dagster.reward.training.launch import run_job, write_job
from synpref_dagster.reward.training.run import LoraUpdates, TrainingConfig

CONFIG = TrainingConfig(max_steps=6, evaluate_every_steps=3, batch_pairs=16, tokens_per_pack=100)


@pytest.fixture
def job(tmp_path, qwen_stand_in, pairs, gold):
    for name, part in (("pairs", pairs), ("gold", gold)):
        pq.write_table(pairs_to_table(part), tmp_path / f"{name}.parquet")

    def write(name, config=CONFIG):
        return write_job(
            tmp_path / f"{name}.json",
            pairs=tmp_path / "pairs.parquet",
            validation=tmp_path / "gold.parquet",
            backbone_path=str(qwen_stand_in),
            config=config,
            output_dir=tmp_path / name,
        )

    return write


def test_ranks_share_the_packs_and_run_equally_many(random_units):
    units, sequences, keys = random_units
    packs = pack_units(units, sequences, keys=keys, tokens_per_pack=90)
    for num_ranks in (2, 3, len(packs) + 1):
        shared = [share_packs(packs, rank=r, num_ranks=num_ranks) for r in range(num_ranks)]
        rounds = math.ceil(len(packs) / num_ranks)
        assert [len(part) for part in shared] == [rounds] * num_ranks
        weights = [weight for part in shared for _, weight in part]
        assert sorted(set(weights)) == sorted({1.0, *([0.0] if len(packs) % num_ranks else [])})
        assert sum(weights) == len(packs)
        real = [pack.units for part in shared for pack, weight in part if weight]
        assert sorted(real) == sorted(pack.units for pack in packs)


@pytest.mark.parametrize(
    ("num_tokens", "num_ranks", "dealt"),
    [
        ([3, 9, 7, 5], 2, [[(9, 1.0), (3, 1.0)], [(7, 1.0), (5, 1.0)]]),
        ([9, 7, 5, 3, 1], 2, [[(9, 1.0), (3, 1.0), (1, 1.0)], [(7, 1.0), (5, 1.0), (9, 0.0)]]),
        ([4, 2], 3, [[(4, 1.0)], [(2, 1.0)], [(4, 0.0)]]),
    ],
    ids=["even", "odd", "fewer packs than ranks"],
)
def test_packs_are_dealt_out_largest_first_back_and_forth(num_tokens, num_ranks, dealt):
    packs = [SimpleNamespace(num_tokens=number) for number in num_tokens]
    shared = [share_packs(packs, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    assert [[(pack.num_tokens, weight) for pack, weight in part] for part in shared] == dealt


def test_a_job_file_trains_like_the_function(job, tmp_path):
    report = run_job(job("alone"))
    stored = json.loads((tmp_path / "alone" / "training.json").read_text())["report"]
    assert stored["fingerprint"] == report.fingerprint
    assert report.num_steps == 6


def test_a_job_file_without_a_field_is_refused(tmp_path):
    (tmp_path / "job.json").write_text('{"pairs": "x"}')
    with pytest.raises(ValueError, match="lacks backbone_path, config, output_dir, validation"):
        run_job(tmp_path / "job.json")


WORKER = """
import os, signal, sys
from pathlib import Path
from synpref_dagster.reward.training.launch import run_job

def on_step(step, metrics):
    if step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

run_job(Path(sys.argv[1]), on_step=on_step)
"""


def run_two_workers(file, *, kill_at=0):
    script = file.with_suffix(".py")
    script.write_text(WORKER)
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
            *("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"),
            *(str(script), str(file), str(kill_at)),
        ],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).returncode


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "change",
    [{}, {"sharded": True}, {"lora": LoraUpdates(rank=4)}],
    ids=["ddp", "fsdp", "lora"],
)
def test_two_workers_train_what_one_does_also_when_killed(job, tmp_path, change):
    alone = run_job(job("alone", replace(CONFIG, lora=change.get("lora"))))
    config = replace(CONFIG, **change, save_every_steps=2)
    assert run_two_workers(job("together", config)) == 0
    assert run_two_workers(job("killed", config), kill_at=5) != 0
    assert (tmp_path / "killed" / "state" / "step_00000004").is_dir()
    assert run_two_workers(job("killed", config)) == 0
    weights = {}
    for name in ("alone", "together", "killed"):
        stored = json.loads((tmp_path / name / "training.json").read_text())["report"]
        assert stored["losses"] == pytest.approx(alone.losses, abs=1e-5)
        assert stored["evaluation"]["accuracy"] == alone.evaluation.accuracy
        weights[name] = load_file(tmp_path / name / "model.safetensors")
    for name, weight in weights["alone"].items():
        assert torch.allclose(weight, weights["together"][name], atol=1e-4), name
        assert torch.equal(weights["together"][name], weights["killed"][name]), name
