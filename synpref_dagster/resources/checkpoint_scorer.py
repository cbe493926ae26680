"""Opening a checkpoint to score with, on whatever machine a shard is worked on."""

import socket
from functools import lru_cache
from pathlib import Path

import torch

from synpref_dagster.reward.scoring import Scorer, load_reward_model


def open_scorer(folder: str) -> Scorer:
    """The reward model of a checkpoint folder, on this machine's GPU if it has one to give.

    Raises:
        ValueError: this machine does not see the folder.
    """
    if not Path(folder).is_dir():
        raise ValueError(
            f"{socket.gethostname()} does not see the checkpoint {folder!r}: whoever scores needs "
            "the folder of the models, on a file system mounted at that path (docs/scale.md)"
        )
    return load_reward_model(folder, device="cuda" if torch.cuda.is_available() else "cpu")


@lru_cache(maxsize=2)
def opened_scorer(folder: str, fingerprint: str) -> Scorer:
    """`open_scorer`, kept: shards of one model follow each other, so it is loaded once.

    The fingerprint is part of the key: weights that were replaced in their folder are loaded again.
    """
    del fingerprint
    return open_scorer(folder)
