"""A published checkpoint gives the same rewards from a real vLLM server."""

import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from synpref_dagster.reward.backbones import Backbone
from synpref_dagster.reward.frozen.config import FrozenConfig
from synpref_dagster.reward.frozen.model import train_frozen_reward_model
from synpref_dagster.reward.frozen.places import BACKBONES
from synpref_dagster.reward.frozen.preparing import prepare_backbone
from synpref_dagster.reward.frozen.reading import FeatureReader, Reading
from synpref_dagster.reward.frozen.releasing import stand_alone
from synpref_dagster.reward.scoring import RewardModel
from synpref_dagster.reward.training.run import TrainingConfig, train_reward_model

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "services" / "vllm_cpu.sh"
START_SECONDS = 420


def trained(backbone, pairs, home):
    """A stand-in whose weights were trained."""
    folder = home / "checkpoint"
    train_reward_model(
        pairs,
        [],
        backbone_path=str(backbone),
        config=TrainingConfig(max_steps=5),
        output_dir=folder,
    )
    return folder


def released_head(backbone, pairs, home):
    """The release of a head on the last token of a stand-in that was only read."""
    row = Backbone(
        model_size="own", hub_id=str(backbone), licence="", pad_token=None, max_length_tokens=256
    )
    prepared = prepare_backbone(row, home / BACKBONES, layers=(1,))
    about = {"max_length_tokens": 256, "dtype": "float32"}
    reading = Reading(backbone=prepared.folder.name, layers=(1,), **about)
    train_frozen_reward_model(
        pairs,
        [],
        reader=FeatureReader(reading, home, keeps=True, device="cpu"),
        config=FrozenConfig(layers=(1,), poolings=("last",), **about),
        output_dir=home / "models" / "head",
    )
    stand_alone(home / "models" / "head", home / "release")
    return home / "release"


@pytest.fixture(params=[trained, released_head])
def server(request, tmp_path, make_folder, pairs):
    """A reward model and the address of vLLM serving it."""
    # vLLM's CPU attention knows head sizes 32, 64, 128; this stand-in has 64.
    backbone = make_folder(tmp_path / "backbone", "qwen3-8b")
    folder = request.param(backbone, pairs, tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        (tmp_path / "vllm.log").open("wb") as log,
        subprocess.Popen(
            [str(SCRIPT), "start", str(folder), str(port)], stdout=log, stderr=log
        ) as process,
    ):
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until_healthy(address, process, log=tmp_path / "vllm.log")
            yield folder, address
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_healthy(address, process, *, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(1)
    pytest.fail(f"vLLM did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_vllm_gives_the_rewards_of_the_engine(server, pairs):
    folder, address = server
    model = RewardModel.load(folder)
    texts = [
        model.encoder.tokenizer.apply_chat_template(
            [*pair.conversation, {"role": "assistant", "content": pair.chosen}], tokenize=False
        )
        for pair in pairs[:16]
    ]
    answer = requests.post(
        f"{address}/classify",
        json={
            "model": "reward",
            "input": texts,
            "use_activation": False,
            "add_special_tokens": False,
        },
        timeout=60,
    )
    answer.raise_for_status()
    served = [row["probs"][0] for row in sorted(answer.json()["data"], key=lambda r: r["index"])]
    ours = model.rewards([p.conversation for p in pairs[:16]], [p.chosen for p in pairs[:16]])
    assert served == pytest.approx(ours.tolist(), abs=1e-4)
