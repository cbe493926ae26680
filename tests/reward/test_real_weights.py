"""The engine on a real language model: SmolLM2-135M, 30 layers, three key heads for nine queries.

Small models of random weights show that code is right; these that nothing is lost at depth, with
tied embeddings, a template with a prompt of its own and a tokenizer that pads with end-of-sequence.
"""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from synpref_dagster.pairs.record import PreferencePair, Turn, pairs_to_table, table_to_pairs
from synpref_dagster.reward.attention.forward import Mode
from synpref_dagster.reward.encoding import load_encoder
from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.reward.scoring import RewardModel
from synpref_dagster.reward.training.config import LoraUpdates, TrainingConfig
from synpref_dagster.reward.training.launch import write_job
from synpref_dagster.reward.training.run import start_workers
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PAD = "<|endoftext|>"
SHORT = 320  # characters of a pair that trains here
NO_PROMPT = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
ASKED = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


@pytest.fixture(scope="module")
def pairs():
    """Three conversations, one of them of several turns, and four pairs of each."""
    conversations = [
        (Turn(role="user", content="How do I keep basil alive in winter?"),),
        (Turn(role="user", content="Write a line about the sea."),),
        (
            Turn(role="user", content="Is it safe to mix bleach and vinegar?"),
            Turn(role="assistant", content="No. It sets chlorine free, which hurts the lungs."),
            Turn(role="user", content="And bleach with plain water?"),
        ),
    ]
    sides = [
        ("Put it on a bright sill, water when the soil is dry.", "Basil is a plant."),
        ("Grey and patient, it counts the stones.", "the sea the sea the sea!!"),
        ("Yes, diluted as the label says, with a window open.", "Sure, drink it."),
        ("I do not know, but a chemist would: please ask one.", "No idea"),
    ]
    return [
        PreferencePair(
            conversation=conversation, chosen=chosen, rejected=rejected, source="s", origin="human"
        )
        for conversation in conversations
        for chosen, rejected in sides
    ]


@pytest.fixture(scope="module")
def short_hh(real_data):
    """Sixteen short pairs of HH harmless."""
    spec = SourceSpec(
        name="hh",
        path=str(real_data / "hh_rlhf_harmless_base_test" / "harmless-base" / "test.jsonl.gz"),
        format="hh_transcripts",
        origin="human",
        licence="MIT",
    )
    batch = next(iter(read_source(spec, seed=0)))
    read = table_to_pairs(batch.pairs_table())
    return [pair for pair in read if num_chars(pair) < SHORT][:16]


def num_chars(pair):
    return sum(len(turn["content"]) for turn in pair.conversation) + len(
        pair.chosen + pair.rejected
    )


def start(smollm2, config):
    encoder = load_encoder(
        str(smollm2), max_length_tokens=config.max_length_tokens, pad_token=PAD, is_start=True
    )
    return start_workers(str(smollm2), encoder, config=config), encoder


def test_its_prompt_is_taken_out_and_its_pad_token_named(smollm2):
    with pytest.raises(ValueError, match="also the end-of-sequence token"):
        load_encoder(str(smollm2), max_length_tokens=64)
    before = AutoTokenizer.from_pretrained(smollm2).apply_chat_template(ASKED, tokenize=False)
    assert "named SmolLM" in before
    encoder = load_encoder(str(smollm2), max_length_tokens=64, pad_token=PAD, is_start=True)
    assert encoder.tokenizer.apply_chat_template(ASKED, tokenize=False) == NO_PROMPT


def test_packs_give_the_rewards_of_plain_transformers(smollm2, pairs, record_property):
    workers, encoder = start(smollm2, TrainingConfig(max_length_tokens=512))
    assert workers.module.mode is Mode.TREE_LAST_LAYER
    packed = RewardModel(workers.module, encoder)
    conversations = [pair.conversation for pair in pairs] * 2
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    rewards = packed.rewards(conversations, responses)
    plain = AutoModelForSequenceClassification.from_pretrained(smollm2, num_labels=1).eval()
    plain.config.pad_token_id = encoder.pad_token_id
    plain.load_state_dict(workers.model.state_dict())
    with torch.inference_mode():
        expected = np.array(
            [
                float(plain(input_ids=torch.from_numpy(ids)[None]).logits)
                for ids in encoder.encode(conversations, responses)
            ]
        )
    difference = np.abs(rewards - expected).max()
    record_property("largest_difference", float(difference))
    print(f"largest difference of a reward: {difference:.1e}")
    assert difference <= 1e-4
    assert np.ptp(expected) > 0.1
    sequences = encoder.encode(conversations, responses)
    assert packed.num_tokens < 0.75 * sum(map(len, sequences))  # prompts are shared


TRAINS = """
import os, signal, sys
from pathlib import Path
import numpy as np
import torch
from synpref_dagster.reward.scoring import RewardModel
from synpref_dagster.reward.training import launch, run

torch.set_num_threads(1)
job, rewards, stop_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
workers, begin = [], run.start_workers

def kept(*given, **named):
    workers.append(begin(*given, **named))
    return workers[-1]

def on_step(step, metrics):
    if step == stop_at:
        os.kill(os.getpid(), signal.SIGKILL)

run.start_workers = kept
launch.run_job(job, on_step=on_step)
told = launch.json.loads(job.read_text())
pairs = launch._read_pairs(told["pairs"])
trained = RewardModel(workers[-1].module, RewardModel.load(told["output_dir"]).encoder)
texts = [pair.conversation for pair in pairs], [pair.chosen for pair in pairs]
np.save(rewards, trained.rewards(*texts))
"""


def train(job, rewards, *, stop_at=0):
    """Runs a job in a process of its own, which kills itself after a step; its exit code."""
    arguments = [str(job), str(rewards), str(stop_at)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", TRAINS, *arguments], env=environment, check=False
    ).returncode


@pytest.mark.parametrize(
    ("num_steps", "killed_at", "changes"),
    [
        (20, 11, {"lora": LoraUpdates(rank=8), "learning_rate": 3e-4}),
        (4, 3, {"learning_rate": 2e-5, "dtype": "bfloat16", "gradient_checkpointing": True}),
    ],
    ids=["low-rank updates", "all weights"],
)
def test_a_killed_training_ends_with_the_same_bits_and_publishes_what_it_trained(
    smollm2, short_hh, tmp_path, num_steps, killed_at, changes
):
    pq.write_table(pairs_to_table(short_hh), tmp_path / "pairs.parquet")
    pq.write_table(pairs_to_table([]), tmp_path / "none.parquet")
    config = TrainingConfig(
        max_steps=num_steps,
        batch_pairs=4,
        max_length_tokens=256,
        save_every_steps=(num_steps + 1) // 2,
        pad_token=PAD,
        **changes,
    )
    jobs = {
        name: write_job(
            tmp_path / f"{name}.json",
            pairs=tmp_path / "pairs.parquet",
            validation=tmp_path / "none.parquet",
            backbone_path=str(smollm2),
            config=config,
            output_dir=tmp_path / name,
        )
        for name in ("straight", "killed")
    }
    rewards = tmp_path / "rewards.npy"
    assert train(jobs["straight"], rewards) == 0
    assert train(jobs["killed"], tmp_path / "unseen.npy", stop_at=killed_at) == -signal.SIGKILL
    assert len(list((tmp_path / "killed" / "state").glob("step_*"))) == 1
    assert train(jobs["killed"], tmp_path / "again.npy") == 0
    assert folder_fingerprint(tmp_path / "killed") == folder_fingerprint(tmp_path / "straight")

    losses = json.loads((tmp_path / "straight" / "training.json").read_text())["report"]["losses"]
    print(f"losses: {np.round(losses, 3).tolist()}")
    half = num_steps // 2
    assert np.mean(losses[half:]) < np.mean(losses[:half])
    published = RewardModel.load(tmp_path / "straight")
    found = published.rewards(
        [pair.conversation for pair in short_hh], [pair.chosen for pair in short_hh]
    )
    trained = np.load(rewards)
    difference, scale = np.abs(found - trained).max(), np.abs(trained).max()
    print(f"largest difference of a published reward: {difference:.1e} of {scale:.1f}")
    assert difference <= 1e-5 * max(1.0, scale)  # float32 has seven digits
    text = published.encoder.tokenizer.apply_chat_template(ASKED, tokenize=False)
    assert text == NO_PROMPT
