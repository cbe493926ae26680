"""What a model folder says of its frozen backbone, and where that lies. Loads no heavy library."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BACKBONES, FEATURES = "backbones", "features"
FROZEN_FILE = "frozen.json"
HEAD_FILE = "head.npy"
PREPARED_FILE = "prepared.json"
MIDDLE = 2 / 3  # of the way up: a middle layer beats the last one; see docs/reward_models.md


def is_frozen(checkpoint: Path) -> bool:
    """Whether a model folder holds a head on a frozen backbone."""
    return (checkpoint / FROZEN_FILE).is_file()


def told(checkpoint: Path) -> dict[str, Any]:
    """What a head says of itself: `reading`, the backbone and how it is read, and its `choice`."""
    contents: dict[str, Any] = json.loads((checkpoint / FROZEN_FILE).read_text(encoding="utf-8"))
    return contents


def needs_this_package(checkpoint: Path) -> bool:
    """Whether a head reads what only this package gives: more than the state of the last token."""
    return bool(told(checkpoint)["choice"]["pooling"] != "last")


def backbone_of(checkpoint: Path) -> Path:
    """Folder of the prepared backbone that a head reads.

    Raises:
        ValueError: it is not to be found.
    """
    name = told(checkpoint)["reading"]["backbone"]
    return backbone_folder(find_home(checkpoint, name)[0], name)


def backbone_folder(home: Path, name: str) -> Path:
    """Where a prepared backbone lies in a campaign's folder, or in a folder given away."""
    own = home / name
    return own if own.is_dir() else home / BACKBONES / name


def source_of(folder: Path) -> str | None:
    """What a prepared backbone was made from, whatever it is called and however many layers it has.

    None where that is not known: of an earlier version.
    """
    try:
        told = json.loads((folder / PREPARED_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told.get("source") if isinstance(told, dict) else None


def find_home(folder: Path, name: str) -> tuple[Path, bool]:
    """The folder that holds a model's backbone, and whether it is a campaign's.

    Args:
        folder: of the model.
        name: of its backbone.

    Raises:
        ValueError: it is neither in the folder nor beside the models above it.
    """
    folder = folder.resolve()
    if (folder / name).is_dir():
        return folder, False
    for home in folder.parents:
        if (home / BACKBONES / name).is_dir():
            return home, True
    raise ValueError(
        f"{folder} is a head on the frozen backbone {name!r}, which lies neither in it nor in "
        f"{BACKBONES}/ of a folder above: copy the campaign's {BACKBONES}/{name} beside it, or "
        "use the release, which holds its backbone"
    )


def middle_layer(folder: Path, layers: Sequence[int]) -> int:
    """Of the layers that are read, the one closest to two thirds of a prepared backbone's depth."""
    depth = json.loads((folder / PREPARED_FILE).read_text(encoding="utf-8"))["depth"]
    return min(layers, key=lambda layer: (abs(layer - MIDDLE * depth), layer))
