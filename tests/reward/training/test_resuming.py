"""A run that is stopped anywhere and started again ends with the bits of one that was not."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from synpref_dagster.reward.evaluation import evaluate_margins
from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.reward.training.resuming import Progress, ResumePoints
from synpref_dagster.reward.training.run import TrainingConfig, train_reward_model

CONFIG = TrainingConfig(
    max_steps=14, evaluate_every_steps=5, save_every_steps=2, batch_pairs=16, num_epochs=3
)


class Stopped(Exception):
    """Stands for the end of the process: nothing is cleaned up."""


def train(folder, stand_in, pairs, *, gold, stop_at=None, config=CONFIG):
    seen = []

    def on_step(step, metrics):
        seen.append(step)
        if step == stop_at:
            raise Stopped

    report = train_reward_model(
        pairs, gold, backbone_path=str(stand_in), config=config, output_dir=folder, on_step=on_step
    )
    return report, seen


def test_a_run_stopped_at_three_random_steps_ends_with_the_same_bits(
    tmp_path, stand_in, pairs, gold
):
    straight, _ = train(tmp_path / "straight", stand_in, pairs, gold=gold)
    for stop_at in sorted(np.random.default_rng(7).choice(np.arange(1, 14), 3, replace=False)):
        with pytest.raises(Stopped):
            train(tmp_path / "stopped", stand_in, pairs, gold=gold, stop_at=stop_at)
        assert not (tmp_path / "stopped" / "training.json").exists()
    resumed, seen = train(tmp_path / "stopped", stand_in, pairs, gold=gold)
    assert seen[0] > 1
    assert resumed == straight
    assert folder_fingerprint(tmp_path / "stopped") == folder_fingerprint(tmp_path / "straight")
    assert not (tmp_path / "stopped" / "state").exists()


def test_points_of_other_settings_are_not_resumed(tmp_path, qwen_stand_in, pairs):
    with pytest.raises(Stopped):
        train(tmp_path, qwen_stand_in, pairs, gold=[], stop_at=5)
    _, seen = train(tmp_path, qwen_stand_in, pairs, gold=[], config=replace(CONFIG, seed=1))
    assert seen[0] == 1


def test_a_half_written_point_is_ignored(tmp_path, qwen_stand_in, pairs):
    with pytest.raises(Stopped):
        train(tmp_path, qwen_stand_in, pairs, gold=[], stop_at=5)
    (tmp_path / "state" / "step_00000009.part").mkdir()
    _, seen = train(tmp_path, qwen_stand_in, pairs, gold=[])
    assert seen[0] == 5


@pytest.mark.parametrize("damaged", ["best_*.safetensors", "step_*/state.pt"])
def test_damaged_states_are_not_resumed_from(tmp_path, qwen_stand_in, pairs, gold, damaged):
    train(tmp_path / "straight", qwen_stand_in, pairs, gold=gold)
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", qwen_stand_in, pairs, gold=gold, stop_at=12)
    [file] = (tmp_path / "stopped" / "state").glob(damaged)
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(bytes(content))
    _, seen = train(tmp_path / "stopped", qwen_stand_in, pairs, gold=gold)
    assert seen[0] == 1
    assert folder_fingerprint(tmp_path / "stopped") == folder_fingerprint(tmp_path / "straight")


def test_without_points_a_run_starts_over(tmp_path, qwen_stand_in, pairs):
    config = replace(CONFIG, save_every_steps=None)
    with pytest.raises(Stopped):
        train(tmp_path, qwen_stand_in, pairs, gold=[], stop_at=3, config=config)
    assert ResumePoints(tmp_path).find("anything") is None
    _, seen = train(tmp_path, qwen_stand_in, pairs, gold=[], config=config)
    assert seen[0] == 1


def test_ties_in_accuracy_go_to_the_later_step():
    progress = Progress(fingerprint="")
    assert progress.record(evaluate_margins([1, -1], step=1))
    assert not progress.record(evaluate_margins([-1, -1], step=2))
    assert progress.record(evaluate_margins([-1, 1], step=3))
    assert progress.best_step == 3


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from conftest import make_pairs
from test_resuming import CONFIG
from synpref_dagster.reward.training.run import train_reward_model

def on_step(step, metrics):
    if step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

train_reward_model(
    make_pairs(120), make_pairs(40, seed=1), backbone_path=sys.argv[2], config=CONFIG,
    output_dir=Path(sys.argv[3]), on_step=on_step,
)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_process_killed_at_three_steps_ends_with_the_same_bits(tmp_path, qwen_stand_in, request):
    def run(folder, stop_at):
        here = str(request.path.parent)
        arguments = [here, str(qwen_stand_in), str(folder), str(stop_at)]
        return subprocess.run(
            [sys.executable, "-c", KILLED_RUN, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        ).returncode

    assert run(tmp_path / "straight", 0) == 0
    assert [run(tmp_path / "killed", step) for step in (3, 8, 11)] == [-signal.SIGKILL] * 3
    assert run(tmp_path / "killed", 0) == 0
    assert folder_fingerprint(tmp_path / "killed") == folder_fingerprint(tmp_path / "straight")
