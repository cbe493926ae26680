"""A head on a frozen backbone as a folder that others can load.

With the state of the last token it is an ordinary sequence classifier, cut to the layer that the
head reads, whose score layer is the head: transformers, vLLM and rewardbench give the rewards that
this package gives. The mean over a response is nothing that they know; such a folder holds the
backbone beside the head and is read by this package.
"""

import shutil
from pathlib import Path

import numpy as np
import torch

from synpref_dagster.reward.folders import TRAINING_FILE
from synpref_dagster.reward.frozen.places import (
    HEAD_FILE,
    backbone_of,
    needs_this_package,
    told,
)
from synpref_dagster.reward.frozen.preparing import cut_classifier

TOKENIZER_FILES = ("tokenizer*", "chat_template*", "special_tokens_map.json", "*.model", "vocab*")


def stand_alone(checkpoint: Path, target: Path) -> None:
    """Write what a head and its backbone are together.

    Args:
        checkpoint: from `train_frozen_reward_model`.
        target: new folder.
    """
    source = backbone_of(checkpoint)
    if needs_this_package(checkpoint):
        shutil.copytree(checkpoint, target)
        shutil.copytree(source, target / source.name)
        return
    model = cut_classifier(source, told(checkpoint)["choice"]["layer"])
    head = np.load(checkpoint / HEAD_FILE, allow_pickle=False)
    with torch.no_grad():
        model.score.weight.copy_(torch.from_numpy(head)[None])
    model.save_pretrained(target)
    for pattern in TOKENIZER_FILES:
        for file in source.glob(pattern):
            shutil.copy2(file, target)
    shutil.copy2(checkpoint / TRAINING_FILE, target)
