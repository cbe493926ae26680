"""What a tool scores with: a folder or hub id of a reward model, or why it is none, in one line.

Nothing heavy is loaded to refuse: what a folder is stands in its small files.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synpref_dagster.pairs.texts import first_line
from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.storage import ModelRef

CONFIG, TOKENIZER = "config.json", ("tokenizer*", "vocab*", "*.model", "spiece*")
LINEAR, FROZEN = "linear.npz", "frozen.json"
HEAD_CLASS = "ForSequenceClassification"
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.npy", "*.npz")


def named_model(place: str | Path) -> ModelRef:
    """The reward model that a folder holds, or a hub id names.

    Args:
        place: folder of a release, a checkpoint, or any sequence classifier with one label; or
            `owner/name` on the hub, which is downloaded once.

    Raises:
        ValueError: there is no such model, or it gives no rewards; one line says why.
    """
    folder = Path(place) if Path(place).is_dir() else _downloaded(str(place))
    _refuse_other(folder, str(place))
    return ModelRef(uri=str(folder), fingerprint=folder_fingerprint(folder))


def short_name(place: str | Path) -> str:
    """What a table calls a model: the last part of its path or id that is no hash.

    >>> short_name("Skywork/Skywork-Reward-V2-Qwen3-0.6B"), short_name("mine/ce30af11141484c2/")
    ('Skywork-Reward-V2-Qwen3-0.6B', 'mine')
    """
    parts = [part for part in str(place).split("/") if part not in ("", ".", "..")]
    named = [part for part in parts if not re.fullmatch("[0-9a-f]{16,64}", part)]
    return (named or parts or [str(place)])[-1]


def _refuse_other(folder: Path, place: str) -> None:
    """Refuse what is no reward model by its small files; linear and frozen models have no config.

    Whether the weights fit is seen when they are loaded.
    """
    if (folder / LINEAR).is_file() or (folder / FROZEN).is_file():
        return
    if not (folder / CONFIG).is_file():
        raise ValueError(
            f"{place} is no folder of a reward model: it has no {CONFIG}; name the folder that "
            "holds weights, tokenizer and configuration"
        )
    config = _config(folder / CONFIG, place)
    named = config.get("architectures") or ["none"]
    kind = str(named[0])
    if not kind.endswith(HEAD_CLASS):
        raise ValueError(
            f"{place} is no reward model: its architecture is {kind}, which has no score head; "
            f"name a ...{HEAD_CLASS} with one label, or train one on it"
        )
    if (labels := _num_labels(config)) != 1:
        raise ValueError(
            f"{place} is no reward model: its head has {labels} labels, and a reward is one number"
        )
    if not any(file for pattern in TOKENIZER for file in folder.glob(pattern)):
        raise ValueError(
            f"{place} has no tokenizer: copy the one that it was trained with into the folder"
        )
    _refuse_other_head(folder, kind, place)


def _config(file: Path, place: str) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{place}: {CONFIG} is no JSON: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{place}: {CONFIG} is no JSON object")
    return found


def _num_labels(config: Mapping[str, Any]) -> int:
    """Labels of a classifier; what says nothing has two, as transformers has it."""
    names = config.get("id2label")
    if isinstance(names, Mapping):
        return len(names)
    given = config.get("num_labels", 2)
    return given if isinstance(given, int) else 2


def _refuse_other_head(folder: Path, kind: str, place: str) -> None:
    """Refuse a classifier that keeps its head elsewhere than in `score`: encoders, mostly."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"{place} cannot be loaded: {first_line(error)}") from error
    except RuntimeError:
        return  # not every model can be made without weights: loading them will tell
    if not isinstance(getattr(model, "score", None), torch.nn.Linear):
        raise ValueError(
            f"{place} is a {kind} whose head is not called score: decoders like Llama and Qwen are "
            "scored with, encoders are not"
        )


def _downloaded(place: str) -> Path:
    """The folder of a hub id, taken from the hub where it is not here already."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    missing = f"{place} is no folder of this machine"
    if place.count("/") != 1 or place.startswith((".", "/", "~")) or "\\" in place:
        raise ValueError(f"{missing}, and no id of the hub (owner/name): correct the path")
    try:
        for weights in WEIGHTS:
            folder = Path(snapshot_download(place, allow_patterns=[*SMALL_FILES, weights]))
            if any(folder.glob(weights)) or any(folder.glob(LINEAR)) or any(folder.glob(FROZEN)):
                break
    except HFValidationError as error:
        raise ValueError(f"{missing}, and no id of the hub: {first_line(error)}") from error
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{missing}, and the hub does not give it ({first_line(error)}): correct the path or "
            "the id, or connect this machine"
        ) from error
    return folder
