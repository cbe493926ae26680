"""A backbone made ready to be read: converted, cut, its chat template free of a prompt of its own.

Whatever a profile names, a hub id, a folder or a GGUF file, becomes one ordinary folder of a
sequence classifier whose head is not trained. It is made once for a campaign.
"""

import json
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from synpref_dagster.reward.backbones import Backbone
from synpref_dagster.reward.checkpoints import load_classifier
from synpref_dagster.reward.encoding import load_encoder
from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.reward.frozen.places import MIDDLE, PREPARED_FILE
from synpref_dagster.storage.atomic import make_once
from synpref_dagster.storage.damage import check_folder, write_checksums

VERSION = "1"  # changes whenever a prepared backbone says something else
DEFAULT_LAYER_SHARES = (MIDDLE, 1.0)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared backbone.

    Attributes:
        folder: Where it lies.
        layers: Layers that are read, counted from 1.
    """

    folder: Path
    layers: tuple[int, ...]


def prepare_backbone(
    row: Backbone, folder: Path, *, layers: Sequence[int] | None = None, reads_all: bool = False
) -> Prepared:
    """Prepare a backbone, unless it was done before.

    Args:
        row: The backbone: its place, revision, GGUF file and pad token.
        folder: Where prepared backbones lie.
        layers: Layers that will be read; what comes behind them is left out. None takes
            `default_layers`.
        reads_all: Keep every layer: the backbone will be trained, not read.

    Raises:
        ValueError: The place holds no backbone of a supported shape, or no usable tokenizer.
    """

    def make(part: Path) -> None:
        tokenizer, model = _tokenizer(row), _classifier(row)
        depth = len(_decoder(model, row.hub_id).layers)
        read = (depth,) if reads_all else tuple(layers or default_layers(depth))
        _cut(model, max(read))
        model.config.pad_token_id = tokenizer.pad_token_id
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        told = {"place": row.hub_id, "revision": row.revision, "layers": read, "depth": depth}
        told["source"] = _key(row, ())
        (part / PREPARED_FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        write_checksums(part)

    what = ("all",) if reads_all else layers
    target = folder / f"{row.model_size}-{_key(row, tuple(what or ()))}"
    make_once(target, make)
    check_folder(target, remedy=f"rm -r '{target}' and start again, which prepares it anew")
    told = json.loads((target / PREPARED_FILE).read_text(encoding="utf-8"))
    return Prepared(target, tuple(told["layers"]))


def _key(row: Backbone, layers: tuple[int | str, ...]) -> str:
    """What a prepared backbone is made from; a local folder counts by its content."""
    folder = Path(row.hub_id)
    place = _content(row.hub_id, _state(folder)) if folder.is_dir() else row.hub_id
    told = (VERSION, place, row.revision, row.gguf_file, row.pad_token, layers)
    return blake2b(repr(told).encode(), digest_size=6).hexdigest()


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a folder's files: whoever replaces one changes this."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return tuple((str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in files)


@lru_cache
def _content(folder: str, state: tuple[tuple[str, int, int], ...]) -> str:
    return folder_fingerprint(folder)


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


def _tokenizer(row: Backbone) -> Any:
    return load_encoder(
        row.hub_id,
        max_length_tokens=row.max_length_tokens,
        pad_token=row.pad_token,
        is_start=True,
        origin=row.origin(),
    ).tokenizer


def _classifier(row: Backbone) -> Any:
    transformers_logging.disable_progress_bar()
    if row.gguf_file is None:
        return load_classifier(row.hub_id, new_head_seed=0, revision=row.revision)
    with redirect_stderr(StringIO()):  # a bar of its own, which nothing else silences
        found = AutoModelForCausalLM.from_pretrained(
            row.hub_id, dtype=torch.float32, **row.origin()
        )
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
