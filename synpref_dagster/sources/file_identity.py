"""What tells a source file from its next version: its bytes, or what its store says about it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from upath import UPath

VERSION_FIELDS = ("ETag", "etag", "md5Hash", "VersionId", "LastModified", "mtime", "created")
"""What object stores call the version of a file; the first ones name its content."""


def content_identity(path: str) -> str:
    """Identity of the content of a file or of all files below a folder.

    Local files count by their bytes, wherever they lie; files in an object store by address, size
    and version, because reading them only to compare would cost as much as using them. A path that
    does not exist is its own identity: reading it says what is wrong.
    """
    return _identity(path, lambda file: _bytes(file) if isinstance(file, Path) else _version(file))


def listing_identity(path: str) -> str:
    """Identity of names, sizes and times below a path: a cheap sign that something may be new."""
    return _identity(path, _version)


def _identity(path: str, about: Callable[[UPath], str]) -> str:
    place = UPath(path)
    if not place.exists():
        return path
    files = [place] if place.is_file() else sorted(filter(UPath.is_file, place.rglob("*")), key=str)
    parts = "\n".join(map(about, files))
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


def _bytes(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16))
    return f"{file.name} {digest.hexdigest()}"


def _version(file: UPath) -> str:
    about = file.stat()
    if isinstance(file, Path):
        return f"{file} {about.st_size} {about.st_mtime_ns}"
    facts: dict[str, Any] = cast(Any, about).as_info()
    version = next((str(facts[name]) for name in VERSION_FIELDS if facts.get(name)), "")
    return f"{file} {about.st_size} {version}"
