"""Model folders: finished when `training.json` is there, because it is written last.

A folder without `training.json` does not exist: whoever finds one may overwrite it. The
fingerprint of a folder is a hash of its files, so that two runs with the same weights agree.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from synpref_dagster.storage.atomic import beside, put_in_place

TRAINING_FILE = "training.json"
STATE_FOLDER = "state"
READ_BYTES = 1 << 22


def unpublish(folder: Path) -> None:
    """Mark a folder as unfinished before anything in it changes."""
    (folder / TRAINING_FILE).unlink(missing_ok=True)


def published_training(folder: Path) -> dict[str, Any] | None:
    """Contents of `training.json`, or None when the folder holds no finished checkpoint."""
    file = folder / TRAINING_FILE
    if not file.is_file():
        return None
    contents: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return contents


def write_json(file: Path, contents: Mapping[str, Any]) -> None:
    """Write JSON beside its place, then move it there in one step."""
    part = beside(file)
    part.write_text(json.dumps(contents, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    put_in_place(part, file)


def folder_fingerprint(folder: str | Path) -> str:
    """Hexadecimal hash over names and contents of a model folder's files.

    Raises:
        ValueError: If the folder holds no files.
    """
    root = Path(folder)
    files = sorted(
        file.relative_to(root)
        for file in root.rglob("*")
        if file.is_file() and file.relative_to(root).parts[0] != STATE_FOLDER
    )
    if not files:
        raise ValueError(f"{folder} holds no files: give the folder of a checkpoint")
    total = blake2b(digest_size=16)
    for name in files:
        content = blake2b(digest_size=16)
        with (root / name).open("rb") as stream:
            while chunk := stream.read(READ_BYTES):
                content.update(chunk)
        total.update(name.as_posix().encode() + b"\0" + content.digest())
    return total.hexdigest()
