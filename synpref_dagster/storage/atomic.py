"""Local files and folders that appear whole: written beside their place, then moved there.

One writer at a time. `uris.write_bytes` is for small files that several processes may write.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from synpref_dagster.storage.processes import alone_beside


def part_of(target: Path) -> Path:
    """Where what will be `target` is written first."""
    return target.with_name(f"{target.name}.part")


def beside(target: Path) -> Path:
    """`part_of` a target, without what a killed writer left there."""
    part = part_of(target)
    remove(part)
    return part


def put_in_place(part: Path, target: Path) -> None:
    """Moves a finished file or folder to its place, where an older one goes."""
    if part.is_dir():
        remove(target)
    part.replace(target)


def make_once(target: Path, make: Callable[[Path], None]) -> None:
    """Makes a file or folder that is there whole or not at all, whoever else starts now.

    Args:
        target: what is made unless it is there.
        make: makes it at another place, and lets go of it: afterwards it is moved.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone_beside(target):
        if target.exists():
            return
        part = beside(target)
        make(part)
        put_in_place(part, target)


def remove(path: Path) -> None:
    """Removes a file or a folder with all that is in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
