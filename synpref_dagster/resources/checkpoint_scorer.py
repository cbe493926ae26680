"""Opening a checkpoint to score with, on whatever machine a shard is worked on."""

import socket
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
