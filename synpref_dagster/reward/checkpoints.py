"""Checkpoints: a plain Hugging Face folder plus `training.json`, which is written last."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from synpref_dagster.reward.folders import (
    check_model,
    folder_fingerprint,
    publish,
    published_training,
    unpublish,
)

__all__ = [
    "folder_fingerprint",
    "load_classifier",
    "publish_checkpoint",
    "published_training",
    "unpublish",
]


def load_classifier(
    path: str, *, pad_token_id: int | None = None, dtype: torch.dtype | None = None, seed: int = 0
) -> Any:
    """Sequence classifier with one label from a folder or hub id, never with remote code.

    A backbone without a score head gets one drawn from `seed`. The pad token of the tokenizer is
    written into the config, because transformers pools by it.
    """
    check_model(Path(path))
    transformers_logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=1, dtype=dtype or torch.float32, trust_remote_code=False
        )
    if pad_token_id is not None:
        model.config.pad_token_id = pad_token_id
        model.config.get_text_config().pad_token_id = pad_token_id
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def publish_checkpoint(
    model: Any,
    tokenizer: Any,
    *,
    weights: Mapping[str, torch.Tensor],
    folder: Path,
    training: Mapping[str, Any],
) -> None:
    """Write weights, tokenizer and template, then `training.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    unpublish(folder)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder, state_dict=dict(weights))
    publish(folder, training)
