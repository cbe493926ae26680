"""The manifest: what makes a folder of Parquet shards a data set, written last.

A folder without a readable manifest does not exist. Manifests carry a seal (`sealed`). Every
published manifest stays available under its fingerprint, so that an older reference still resolves,
and under the key of the step that produced it, so that a step is never computed twice.
"""

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from synpref_dagster.storage.refs import DatasetRef
from synpref_dagster.storage.sealed import sealed, unsealed
from synpref_dagster.storage.uris import AnyPath, file_sizes, read_bytes, to_path, write_bytes

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
HASH_BYTES = 16
MANIFEST_NAME = "manifest.json"
SHARD_FOLDER = "shards"
STATES = "manifests"


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file, named by the hash of its bytes."""

    content_hash: str
    num_rows: int
    num_bytes: int
    check: str = field(default="", compare=False)
    """xxh3-128 of the bytes, which costs next to nothing where they are read anyway; "" for a shard
    of an earlier version, which is compared with its name."""

    def to_list(self) -> list[str | int]:
        """JSON values of which `Shard(*values)` is this shard."""
        check = [self.check] if self.check else []
        return [self.content_hash, self.num_rows, self.num_bytes, *check]

    @property
    def name(self) -> str:
        """File name below the folder of the shards."""
        return f"{self.content_hash}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything about one published state of a data set except its rows."""

    schema: pa.Schema
    """Columns and Arrow types, the same in every shard."""
    shards: tuple[Shard, ...]
    """The shards in the order of the data set, at least one."""
    step: str
    """Key of the step that produced it, see `step_key`."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Free JSON values for people; never part of the fingerprint."""

    @property
    def num_rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Bytes of all shards on disk."""
        return sum(shard.num_bytes for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """Identity of the content: column names, types, and the shards in their order."""
        columns = [[column.name, str(column.type)] for column in self.schema]
        return hash_json({"columns": columns, "shards": [s.content_hash for s in self.shards]})

    def to_json(self) -> str:
        """JSON text, readable for people; the Arrow schema is kept exactly beside it."""
        document = {
            "format_version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "num_rows": self.num_rows,
            "step": self.step,
            "meta": dict(self.meta),
            "columns": [{"name": c.name, "type": str(c.type)} for c in self.schema],
            "arrow_schema": b64encode(self.schema.serialize()).decode(),
            "shards": [shard.to_list() for shard in self.shards],
        }
        return json.dumps(sealed(document), indent=1, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest | None":
        """The manifest in a file's bytes, or None when they are torn, damaged or foreign."""
        try:
            document = unsealed(text)
            manifest = cls(
                schema=pa.ipc.read_schema(pa.BufferReader(b64decode(document["arrow_schema"]))),
                shards=tuple(Shard(*shard) for shard in document["shards"]),
                step=document["step"],
                meta=document["meta"],
            )
            intact = document["fingerprint"] == manifest.fingerprint
        except (ValueError, KeyError, TypeError, OSError, pa.ArrowException):
            return None
        return manifest if intact and document.get("format_version") == FORMAT_VERSION else None


def format_version(text: bytes) -> int | None:
    """Format of the manifest in a file's bytes, also of another version; None for anything else."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    found = document.get("format_version") if isinstance(document, dict) else None
    return found if isinstance(found, int) else None


def hash_bytes(data: bytes | memoryview | pa.Buffer) -> str:
    """blake2b-128 of the bytes, as 32 hexadecimal digits."""
    return blake2b(data, digest_size=HASH_BYTES).hexdigest()


def hash_json(value: Any) -> str:
    """blake2b-128 of a value's canonical JSON (sorted keys, no spaces).

    Whatever has a `fingerprint` (a reference, a contamination index) counts as that fingerprint,
    a dataclass as its fields, bytes as hexadecimal digits.

    Raises:
        ValueError: something in it has no canonical form.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_canonical
    )
    return hash_bytes(text.encode())


def step_key(*, version: str, inputs: Sequence[str], params: Mapping[str, Any]) -> str:
    """Identity of a computation: its version, the fingerprints it reads, its parameters.

    >>> a = step_key(version="1", inputs=["f0"], params={"seed": 7, "k": 8})
    >>> a == step_key(version="1", inputs=["f0"], params={"k": 8, "seed": 7})
    True
    """
    return hash_json({"version": version, "inputs": list(inputs), "params": dict(params)})


def publish(uri: str, manifest: Manifest) -> DatasetRef:
    """Makes written shards a data set; the last write is the manifest that readers look for."""
    root, text = to_path(uri), manifest.to_json().encode()
    write_bytes(_by_fingerprint(root, manifest.fingerprint), text)
    write_bytes(_by_step(root, manifest.step), text)
    write_bytes(root / MANIFEST_NAME, text)
    return make_ref(uri, manifest)


def reuse(uri: str, *, step: str, meta: Mapping[str, Any] | None = None) -> DatasetRef | None:
    """Publishes again what this step produced before, or None when that is not all there.

    `meta` replaces the stored one when given.
    """
    root = to_path(uri)
    manifest = _load(_by_step(root, step))
    if manifest is None or manifest.step != step or not has_all_shards(uri, manifest.shards):
        return None
    if meta is not None and dict(meta) != dict(manifest.meta):
        manifest = replace(manifest, meta=dict(meta))
    # Two steps may give the same content with other facts: the last one published counts, and a
    # process that was killed between these writes leaves them unlike each other.
    written = (_load(root / MANIFEST_NAME), _load(_by_fingerprint(root, manifest.fingerprint)))
    if any(each is None or each.to_json() != manifest.to_json() for each in written):
        publish(uri, manifest)
    return make_ref(uri, manifest)


def has_all_shards(uri: str, shards: Sequence[Shard]) -> bool:
    """Whether every shard is there in its full length; a torn shard counts as absent."""
    sizes = file_sizes(to_path(uri) / SHARD_FOLDER)
    return all(sizes.get(shard.name) == shard.num_bytes for shard in shards)


def read_manifest(dataset: str | DatasetRef) -> Manifest:
    """The current manifest of a URI, or the very one that a reference names.

    Raises:
        ValueError: there is no such data set, or no such state of it.
    """
    if isinstance(dataset, DatasetRef):
        manifest = _load(_by_fingerprint(to_path(dataset.uri), dataset.fingerprint))
        if manifest is None or manifest.fingerprint != dataset.fingerprint:
            raise ValueError(
                f"data set {dataset.uri!r} has no published state {dataset.fingerprint}: it was "
                "deleted or never finished; materialize the asset that writes it again"
            )
        return manifest
    current = find_manifest(dataset)
    if current is None:
        raise ValueError(
            f"no data set at {dataset!r}: {MANIFEST_NAME} is missing or torn; "
            "materialize the asset that writes it"
        )
    return current


def find_manifest(uri: str) -> Manifest | None:
    """The current manifest of a URI, or None when no data set is published there.

    Where the current one is damaged or lost, the newest of those kept under their fingerprints is
    it.
    """
    root = to_path(uri)
    current = _load(root / MANIFEST_NAME)
    return current or _newest_kept(root)


def _newest_kept(root: AnyPath) -> Manifest | None:
    kept = root / STATES
    files: list[Any] = list(kept.iterdir()) if kept.is_dir() else []
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        found = _load(file) if file.suffix == ".json" else None
        if found is not None and found.fingerprint == file.stem:
            logger.warning("%s is missing or damaged: %s counts", root / MANIFEST_NAME, file)
            return found
    return None


def make_ref(uri: str, manifest: Manifest) -> DatasetRef:
    """The reference to one published state."""
    return DatasetRef(uri, manifest.num_rows, manifest.fingerprint)


def _load(path: AnyPath) -> Manifest | None:
    text = read_bytes(path)
    if text is None:
        return None
    manifest = Manifest.from_json(text)
    if manifest is None:
        logger.warning("ignoring the unreadable manifest %s", path)
    return manifest


def _by_fingerprint(root: AnyPath, fingerprint: str) -> AnyPath:
    return root / STATES / f"{_checked_name(fingerprint)}.json"


def _by_step(root: AnyPath, step: str) -> AnyPath:
    return root / "steps" / f"{_checked_name(step)}.json"


def _checked_name(name: str) -> str:
    # Names come out of files and callers: none may lead out of the folder.
    if not name or not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"{name!r} is no step key or fingerprint; use step_key(...)")
    return name


def _canonical(value: Any) -> Any:
    if isinstance(fingerprint := getattr(value, "fingerprint", None), str):
        return {"fingerprint": fingerprint}
    if is_dataclass(value) and not isinstance(value, type):
        names = value.__dataclass_fields__
        return {"type": type(value).__name__, **{name: getattr(value, name) for name in names}}
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise ValueError(
        f"cannot identify a parameter of type {type(value).__name__}: "
        "pass JSON values, a dataclass, or something with a fingerprint"
    )
