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
from synpref_dagster.storage.damage import CHECKSUMS, check_folder, write_checksums
from synpref_dagster.storage.sealed import DamagedError

TRAINING_FILE = "training.json"
STATE_FOLDER = "state"
READ_BYTES = 1 << 22


def unpublish(folder: Path) -> None:
    """Mark a folder as unfinished before anything in it changes."""
    for name in (TRAINING_FILE, CHECKSUMS):
        (folder / name).unlink(missing_ok=True)


def publish(folder: Path, training: Mapping[str, Any]) -> None:
    """Write `training.json`, which makes the folder finished, and the checksums of its files."""
    write_json(folder / TRAINING_FILE, training)
    write_checksums(folder, without=STATE_FOLDER)


def check_model(folder: Path) -> None:
    """Compare a model's files with their checksums, once per process.

    It is not trained again by itself: that may be days on many machines, which people decide.

    Raises:
        DamagedError: a file is damaged, with the command after which it is trained again.
    """
    remedy = f"rm -r '{folder}' and start again, which trains this model anew"
    check_folder(folder, remedy=remedy)


def published_training(folder: Path) -> dict[str, Any] | None:
    """Contents of `training.json`, or None when the folder holds no finished checkpoint.

    Raises:
        DamagedError: a file of the folder is damaged.
    """
    check_model(folder)
    file = folder / TRAINING_FILE
    if not file.is_file():
        return None
    try:
        contents: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(
            f"{file} is damaged: rm '{file}' and start again, which trains this model anew"
        ) from error
    return contents


def finished_training(folder: Path) -> dict[str, Any]:
    """Contents of `training.json` of a folder that is known to be finished.

    Raises:
        DamagedError: a file of the folder is damaged.
        ValueError: the folder holds no finished checkpoint.
    """
    training = published_training(folder)
    if training is None:
        raise ValueError(f"{folder} holds no finished checkpoint: materialize its asset again")
    return training


def write_json(file: Path, contents: Mapping[str, Any]) -> None:
    """Write JSON beside its place, then move it there in one step."""
    part = beside(file)
    part.write_text(json.dumps(contents, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    put_in_place(part, file)


def folder_fingerprint(folder: str | Path) -> str:
    """Hexadecimal hash over names and contents of a model folder's files.

    The checksums say nothing new, and folders of earlier versions have none: they do not count.

    Raises:
        ValueError: If the folder holds no files.
    """
    root = Path(folder)
    files = sorted(
        file.relative_to(root)
        for file in root.rglob("*")
        if file.is_file() and file.relative_to(root).parts[0] not in (STATE_FOLDER, CHECKSUMS)
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
