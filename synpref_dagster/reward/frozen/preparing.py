"""A backbone made ready to be read: converted, cut, its chat template free of a prompt of its own.

Whatever a profile names, a hub id, a folder or a GGUF file, becomes one ordinary folder of a
sequence classifier whose head is not trained. It is made once for a campaign.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from synpref_dagster.reward.checkpoints import load_classifier
from synpref_dagster.reward.encoding import template_without_default_prompt
from synpref_dagster.storage.atomic import make_once

DEFAULT_LAYER_SHARES = (2 / 3, 1.0)  # a middle layer beats the last one; see docs/reward_models.md


def prepare_backbone(
    place: str,
    folder: Path,
    *,
    layers: Sequence[int] | None = None,
    pad_token: str | None = None,
    revision: str | None = None,
    gguf_file: str | None = None,
) -> Path:
    """Make the folder of a prepared backbone, unless it is there.

    Args:
        place: Folder or hub id.
        folder: Where the prepared backbone goes.
        layers: Layers that will be read; what comes behind them is left out. None keeps all.
        pad_token: Token to pad with where the tokenizer has none, or pads with end-of-sequence.
        revision: Commit, tag or branch on the hub.
        gguf_file: Name of a GGUF file in `place` to take the weights from.

    Raises:
        ValueError: The place holds no backbone of a supported shape, or no usable tokenizer.
    """

    def make(part: Path) -> None:
        origin = {"revision": revision, "gguf_file": gguf_file}
        where = {name: value for name, value in origin.items() if value is not None}
        tokenizer = _tokenizer(place, pad_token, where)
        model = _classifier(place, where)
        depth = len(_decoder(model, place).layers)
        _cut(model, max(layers or (depth,)))
        model.config.pad_token_id = tokenizer.pad_token_id
        with torch.no_grad():
            model.score.weight.zero_()
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)

    make_once(folder, make)
    return folder


def default_layers(depth: int) -> tuple[int, ...]:
    """The layers read where a profile names none.

    >>> default_layers(30)
    (20, 30)
    """
    return tuple(sorted({max(1, round(share * depth)) for share in DEFAULT_LAYER_SHARES}))


def cut_classifier(folder: Path, layer: int) -> Any:
    """A prepared backbone as a classifier of its first layers, its head still untrained."""
    model = load_classifier(str(folder))
    _cut(model, layer)
    return model


def _tokenizer(place: str, pad_token: str | None, where: dict[str, str]) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **where)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ValueError(f"{place} holds no tokenizer that can be read: {error}") from error
    if pad_token is not None and tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        if pad_token not in tokenizer.get_vocab():
            raise ValueError(f"pad token {pad_token!r} is not in the vocabulary of {place}")
        tokenizer.pad_token = pad_token
    tokenizer.chat_template = template_without_default_prompt(tokenizer)
    tokenizer.padding_side = "right"
    return tokenizer


def _classifier(place: str, where: dict[str, str]) -> Any:
    transformers_logging.disable_progress_bar()
    if "gguf_file" not in where:
        return load_classifier(place, new_head_seed=0, revision=where.get("revision"))
    found = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **where)
    config = found.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are dequantised: it no longer speaks of them
    config.num_labels = 1
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    model.base_model.load_state_dict(found.base_model.state_dict())
    return model


def _decoder(model: Any, place: str) -> Any:
    base = model.base_model
    if not hasattr(base, "layers") or not hasattr(base, "norm"):
        raise ValueError(
            f"{place} ({type(model).__name__}) is no decoder with `layers` and a final `norm`, so "
            "its layers cannot be read one by one: fine-tune it (backend = 'hub')"
        )
    return base


def _cut(model: Any, layer: int) -> None:
    base = model.base_model
    if not 1 <= layer <= len(base.layers):
        raise ValueError(f"layer {layer}: the backbone has layers 1 to {len(base.layers)}")
    base.layers = base.layers[:layer]
    model.config.num_hidden_layers = layer
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layer]
