"""What tells a source file from its next version: its bytes, or what its store says about it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from upath import UPath

from synpref_dagster.sources.files.folders import files_below, place_of
from synpref_dagster.storage.damage import file_hash

VERSION_FIELDS = ("ETag", "etag", "md5Hash", "VersionId", "LastModified", "mtime", "created")
"""What object stores call the version of a file; the first ones name its content."""


def content_identity(path: str, *, digest: Callable[[Path], str] = file_hash) -> str:
    """Identity of the content of a file or of all files below a folder.

    Local files count by their bytes, wherever they lie; files in an object store by address, size
    and version, because reading them only to compare would cost as much as using them. A path that
    does not exist is its own identity: reading it says what is wrong.

    Args:
        path: file or folder, local or in an object store.
        digest: gives the digest of a local file, for who remembers it.
    """

    def about(file: UPath) -> str:
        return f"{file.name} {digest(file)}" if isinstance(file, Path) else _version(file)

    return _identity(path, about)


def file_identities(path: str, *, digest: Callable[[Path], str]) -> tuple[str, str]:
    """`content_identity` of one file, and what of it stays when the file is given another name.

    Of a file in an object store both are the same: its address is part of them.
    """
    place = place_of(path)
    if isinstance(place, Path) and place.is_file():
        found = digest(place)
        return content_identity(path, digest=lambda _: found), found
    identity = content_identity(path, digest=digest)
    return identity, identity


def listing_identity(path: str) -> str:
    """Identity of names, sizes and times below a path: a cheap sign that something may be new."""
    return _identity(path, _version)


def _identity(path: str, about: Callable[[UPath], str]) -> str:
    place = place_of(path)
    if not place.exists():
        return path
    below = [] if place.is_file() else files_below(place)
    files = [file for file in below if file.is_file()] or [place] * place.is_file()
    parts = "\n".join(map(about, files))
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


def _version(file: UPath) -> str:
    about = file.stat()
    if isinstance(file, Path):
        return f"{file} {about.st_size} {about.st_mtime_ns}"
    facts: dict[str, Any] = cast(Any, about).as_info()
    version = next((str(facts[name]) for name in VERSION_FIELDS if facts.get(name)), "")
    return f"{file} {about.st_size} {version}"
