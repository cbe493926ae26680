"""A small world with a known rule - the response with more good words wins - and its stand-ins."""

import numpy as np
import pytest
import torch

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.stand_ins import make_stand_in

WORDS = [f"word{i}" for i in range(30)]
GOOD = set(WORDS[:10])


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


def make_pairs(num_pairs, *, seed=0, responses_per_conversation=2):
    rng = np.random.default_rng(seed)
    pairs = []
    conversation = ()
    while len(pairs) < num_pairs:
        if len(pairs) % max(responses_per_conversation - 1, 1) == 0:
            turns = " ".join(rng.choice(WORDS, rng.integers(3, 9)))
            conversation = (Turn(role="user", content=turns),)
        one, two = (list(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(2))
        num_one, num_two = (sum(word in GOOD for word in side) for side in (one, two))
        if num_one == num_two:
            continue
        chosen, rejected = (one, two) if num_one > num_two else (two, one)
        pairs.append(
            PreferencePair(
                conversation=conversation,
                chosen=" ".join(chosen),
                rejected=" ".join(rejected),
                source="world",
                origin="human",
            )
        )
    return pairs


@pytest.fixture(scope="session")
def pairs():
    return make_pairs(120)


@pytest.fixture(scope="session")
def gold():
    return make_pairs(40, seed=1)


def build_folder(path, model_size):
    return make_stand_in(backbone(model_size), texts=[" ".join(WORDS)], output_dir=path, seed=0)


@pytest.fixture(scope="session", params=["qwen3-1.7b", "llama-3.2-3b"])
def stand_in(request, tmp_path_factory):
    return build_folder(tmp_path_factory.mktemp("stand_in"), request.param)


@pytest.fixture(scope="session")
def qwen_stand_in(tmp_path_factory):
    return build_folder(tmp_path_factory.mktemp("qwen_stand_in"), "qwen3-0.6b")


@pytest.fixture(scope="session")
def random_units():
    """Pairs of token sequences of nine conversations, with repeats: units, sequences, keys."""
    rng = np.random.default_rng(0)
    sequences, units, keys = [], [], []
    for key in range(9):
        prompt = rng.integers(1, 50, rng.integers(2, 30))
        for _ in range(rng.integers(1, 4)):
            units.append((len(sequences), len(sequences) + 1))
            keys.append(key)
            for _ in range(2):
                response = rng.integers(1, 50, rng.integers(1, 20))
                sequences.append(np.concatenate([prompt, response]))
    sequences[3] = sequences[0].copy()
    return units, sequences, keys


@pytest.fixture(scope="session")
def make_folder():
    """Makes the stand-in of a model size in a folder."""
    return build_folder


@pytest.fixture(scope="session")
def pair_maker():
    """Makes pairs of the small world."""
    return make_pairs
