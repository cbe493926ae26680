"""Damage at rest: files are compared with the hashes under which they were written, when read.

A shard is named by its hash. It is compared once per process, and a damaged one is set aside, so
that the step that wrote it is computed again by the next start. Folders that other libraries read
(checkpoints, tokenizers, vocabularies) have `checksums.json`; a damaged one is refused by name.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import xxhash

from synpref_dagster.storage.manifest import Shard
from synpref_dagster.storage.sealed import DamagedError, sealed, unsealed
from synpref_dagster.storage.uris import AnyPath, read_bytes, write_bytes

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"
ASIDE = ".damaged"
_compared: set[tuple[object, ...]] = set()


class DamagedShardError(DamagedError):
    """A shard was damaged and is set aside: starting again computes it anew."""


def quick_hash(content: pa.Buffer | bytes) -> str:
    """xxh3-128, as 32 hexadecimal digits: no identity, but no accident leaves it as it was."""
    return str(xxhash.xxh3_128_hexdigest(content))


def compared_content(path: AnyPath, shard: Shard) -> pa.Buffer | bytes | None:
    """The whole content of a shard, compared with its hash at its first read in this process.

    Returns:
        None when the file was compared before; a local one that changed since is compared again.

    Raises:
        DamagedShardError: it holds other bytes; it is set aside.
        FileNotFoundError: it is not there.
    """
    state = _state(path) if isinstance(path, Path) else (str(path),)
    if state in _compared:
        return None
    content = _content(path)
    found = quick_hash(content) if shard.check else blake2b(content, digest_size=16).hexdigest()
    if found != (shard.check or shard.content_hash):
        set_aside(path, content)
    _compared.add(state)
    return content


def _content(path: AnyPath) -> pa.Buffer | bytes:
    if isinstance(path, Path) and path.stat().st_size:
        # Compared and decoded where it lies: copying it would cost more than comparing.
        return pa.memory_map(str(path)).read_buffer()
    content = read_bytes(path)
    if content is None:
        raise FileNotFoundError(str(path))
    return content


def set_aside(path: AnyPath, content: pa.Buffer | bytes) -> NoReturn:
    """Takes a damaged shard out of its place, and says so.

    Raises:
        DamagedShardError: always.
    """
    name = path.name + ASIDE
    if isinstance(path, Path):
        path.replace(path.with_name(name))
    else:
        write_bytes(path.with_name(name), memoryview(content))
        path.unlink()
    raise DamagedShardError(
        f"{path} was damaged at rest and is set aside as {name}: start again, and the step "
        "that wrote it computes it anew"
    )


def write_checksums(folder: Path, *, without: str = "") -> None:
    """Keeps the hash of every file below a finished folder in `checksums.json`.

    Args:
        folder: whose files no longer change.
        without: name of a folder in it that is not part of it.
    """
    files = {
        file.relative_to(folder).as_posix(): file_hash(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and _is_kept(file.relative_to(folder), without)
    }
    write_bytes(folder / CHECKSUMS, json.dumps(sealed({"files": files}), indent=1).encode())


def keep_checksums(folder: Path) -> None:
    """`write_checksums` of a folder that has none, because an earlier version wrote it."""
    if not (folder / CHECKSUMS).is_file():
        logger.warning("%s has no checksums yet: its files are recorded as they are", folder)
        write_checksums(folder)


def check_folder(folder: Path, *, remedy: str) -> None:
    """Compares the files below a folder with its checksums, each once per process and state.

    A folder without checksums, of an earlier version, passes.

    Args:
        folder: with `checksums.json`.
        remedy: what people do about a damaged file; the end of the sentence.

    Raises:
        DamagedError: a file is missing or holds other bytes, or the checksums do.
    """
    text = read_bytes(folder / CHECKSUMS)
    if text is None:
        return
    try:
        known: dict[str, str] = unsealed(text)["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{folder / CHECKSUMS} is damaged: {remedy}") from error
    for name, digest in known.items():
        file = folder / name
        if not holds(file, digest):
            state = "damaged at rest" if file.is_file() else "missing"
            raise DamagedError(f"{file} is {state}: {remedy}")


def holds(file: Path, digest: str) -> bool:
    """Whether a file is there with this blake2b-128; read once per process and state."""
    if not file.is_file():
        return False
    state = (*_state(file), digest)
    if state not in _compared and file_hash(file) != digest:
        return False
    _compared.add(state)
    return True


def made_whole(folder: Path, *, is_made: bool, make: Callable[[], object]) -> None:
    """Makes a folder that is not made, or is damaged and cheap to make again; with checksums."""
    if is_made:
        try:
            check_folder(folder, remedy="it is made again")
            return
        except DamagedError as error:
            logger.warning("%s", error)
    make()
    write_checksums(folder)


def _is_kept(name: Path, without: str) -> bool:
    hidden = any(part.startswith(".") or part.endswith(".part") for part in name.parts)
    return not hidden and name.parts[0] not in (CHECKSUMS, without)


def file_hash(file: Path) -> str:
    """blake2b-128 of a local file, as 32 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()


def _state(file: Path) -> tuple[object, ...]:
    about = file.stat()
    return str(file), about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino
