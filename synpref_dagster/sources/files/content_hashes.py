"""Hashes of local source files, kept from night to night: an unchanged file is not hashed again.

An entry names path, size and time of the last change. It is written only when the file had been
still for a while: two changes within the resolution of a file system's clock look like one.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synpref_dagster.storage import to_path
from synpref_dagster.storage.damage import file_hash
from synpref_dagster.storage.sealed import sealed, unsealed
from synpref_dagster.storage.uris import read_bytes, write_bytes

SETTLED_NS = 2_000_000_000
"""A file changed less than this before it was hashed may have changed again unseen."""


@dataclass(frozen=True, slots=True)
class _Entry:
    size: int
    mtime_ns: int
    digest: str


class ContentHashes:
    """Digest of each local file, from the table at `uri` where that still holds."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._entries: dict[str, _Entry] | None = None
        self._is_saved = True

    def digest(self, file: Path) -> str:
        """Digest of the bytes of a local file."""
        entries = self._loaded()
        path, about, now = str(file.absolute()), file.stat(), time.time_ns()
        known = entries.get(path)
        if known and (known.size, known.mtime_ns) == (about.st_size, about.st_mtime_ns):
            return known.digest
        entry = _Entry(about.st_size, about.st_mtime_ns, file_hash(file))
        if now - entry.mtime_ns >= SETTLED_NS:
            entries[path] = entry
            self._is_saved = False
        return entry.digest

    def save(self, files: Iterable[str]) -> None:
        """Writes the table when it changed; only `files` stay in it."""
        if self._is_saved:
            return
        wanted = {str(Path(file).absolute()) for file in files}
        self._entries = {path: one for path, one in self._loaded().items() if path in wanted}
        rows = [
            {"path": path, "size": one.size, "mtime_ns": one.mtime_ns, "digest": one.digest}
            for path, one in sorted(self._entries.items())
        ]
        write_bytes(to_path(self._uri), json.dumps(sealed({"files": rows}), indent=0).encode())
        self._is_saved = True

    def _loaded(self) -> dict[str, _Entry]:
        if self._entries is None:
            self._entries = _parsed(read_bytes(to_path(self._uri)))
        return self._entries


def _parsed(content: bytes | None) -> dict[str, _Entry]:
    # A table that is torn or damaged costs hashing, not the night. Earlier versions wrote the rows.
    try:
        found = unsealed(content or b"[]")
    except ValueError:
        return {}
    rows = found.get("files") if isinstance(found, dict) else found
    sound = filter(_is_sound, rows if isinstance(rows, list) else [])
    return {row["path"]: _Entry(row["size"], row["mtime_ns"], row["digest"]) for row in sound}


def _is_sound(row: Any) -> bool:
    wanted = {"path": str, "size": int, "mtime_ns": int, "digest": str}
    return isinstance(row, dict) and all(
        isinstance(row.get(name), kind) for name, kind in wanted.items()
    )
