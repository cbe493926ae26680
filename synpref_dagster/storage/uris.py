"""Where data lives: a local path or an object store URI, opened the same way everywhere.

Local files appear whole or not at all (temporary file, fsync, replace). An object store is only
ever asked for plain puts and gets: nothing here relies on a rename or a conditional put.
S3 is configured by `SYNPREF_S3_ENDPOINT`, `SYNPREF_S3_REGION` and the usual `AWS_*` credentials.
"""

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from upath import UPath

PROTOCOLS = ("file", "s3", "memory")

AnyPath = Path | UPath

_LEFTOVER = re.compile(r"\.(?P<host>[^.~]+)~(?P<process>\d+)-\d+\.tmp$")


@contextmanager
def explained(path: Path | UPath) -> Iterator[None]:
    """Name store and remedy when an object store refuses access or does not answer.

    Throttling and broken connections were retried before by the client. Neither kind of failure
    may ever look like an absent file, which would be computed again.

    Raises:
        PermissionError: the credentials are wrong, or do not allow this.
        ConnectionError: nobody answers at the endpoint.
    """
    if isinstance(path, Path) or path.protocol != "s3":
        yield
        return
    from botocore.exceptions import (
        ConnectionError as BotoConnectionError,
        HTTPClientError,
        NoCredentialsError,
    )

    try:
        yield
    except (PermissionError, NoCredentialsError) as error:
        raise PermissionError(
            f"the object store refuses access to {str(path)!r}: check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, SYNPREF_S3_ENDPOINT and what the key may do with the bucket"
        ) from error
    except (BotoConnectionError, HTTPClientError) as error:
        endpoint = path.storage_options.get("endpoint_url") or "Amazon's endpoint"
        raise ConnectionError(
            f"no answer from the object store at {endpoint} for {str(path)!r}: check "
            "SYNPREF_S3_ENDPOINT and the network, and start again; finished shards are kept"
        ) from error


def to_path(uri: str) -> AnyPath:
    """The path of a URI: `pathlib.Path` when local, else a `UPath` with its storage options.

    Args:
        uri: a local path, `file:///...`, `s3://bucket/prefix` or `memory://name` (tests).

    Raises:
        ValueError: the protocol is none of `PROTOCOLS`.
    """
    protocol, separator, _ = uri.partition("://")
    if not separator:
        return Path(uri)
    if protocol not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in PROTOCOLS)
        raise ValueError(f"cannot store at {uri!r}: use a local path or one of {known}")
    if protocol == "file":
        return Path(unquote(urlsplit(uri).path))
    return UPath(uri, **storage_options(protocol))


def join_uri(uri: str, *parts: str) -> str:
    """The URI of something below `uri`.

    >>> join_uri("s3://bucket/pool/", "kept")
    's3://bucket/pool/kept'
    """
    return "/".join([uri.rstrip("/"), *parts])


def storage_options(protocol: str) -> dict[str, Any]:
    """Options for fsspec of a protocol, from the environment; secrets stay with the AWS client."""
    if protocol != "s3":
        return {}
    client = {"region_name": os.environ.get("SYNPREF_S3_REGION", "us-east-1")}
    options: dict[str, Any] = {
        "client_kwargs": client,
        # Servers other than Amazon's rarely have a host name per bucket.
        "config_kwargs": {"s3": {"addressing_style": "path"}},
        # Another process may have written since the last listing.
        "use_listings_cache": False,
    }
    if endpoint := os.environ.get("SYNPREF_S3_ENDPOINT"):
        if "@" in endpoint:
            raise ValueError(
                "SYNPREF_S3_ENDPOINT names a user or a password: write scheme, host and port, and "
                "put the key into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        options["endpoint_url"] = endpoint
    return options


def write_bytes(path: AnyPath, data: bytes | memoryview) -> None:
    """Writes one file so that no reader ever sees a part of it; parents are made as needed."""
    if not isinstance(path, Path):
        if path.protocol == "memory":
            path.parent.mkdir(parents=True, exist_ok=True)
        with explained(path):
            path.write_bytes(bytes(data))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_writer()}.tmp")
    try:
        with named_when_full(path), temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named_when_full(path: AnyPath) -> Iterator[None]:
    """Let the error of a full disk name the file that was written; the system only does when asked.

    Raises:
        OSError: with the path.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT) or error.filename == str(path):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def read_bytes(path: AnyPath) -> bytes | None:
    """The content of a file, or None when there is no such file."""
    try:
        with explained(path):
            return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def modified(path: AnyPath) -> float | None:
    """When a file was written, by the clock of where it lies; None when it is not there.

    Two files of one folder are compared by it, whatever the clocks of those who wrote them say.
    """
    try:
        if isinstance(path, Path):
            return path.stat().st_mtime
        with explained(path):
            return float(path.fs.modified(path.path).timestamp())
    except FileNotFoundError:
        return None


@contextmanager
def open_file(path: AnyPath) -> Iterator[IO[bytes]]:
    """A seekable file for ranged reads; object stores are read exactly as asked, not ahead."""
    options: dict[str, Any] = {} if isinstance(path, Path) else {"cache_type": "none"}
    with explained(path), path.open("rb", **options) as file:
        yield file


def file_sizes(folder: AnyPath) -> dict[str, int]:
    """Bytes per file directly below a folder; empty when there is no such folder."""
    if isinstance(folder, Path):
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            sizes = {entry.name: _size(entry) for entry in entries if entry.is_file()}
        return {name: size for name, size in sizes.items() if size is not None}
    try:
        with explained(folder):
            found = folder.fs.ls(folder.path, detail=True)
    except FileNotFoundError:
        return {}
    return {
        entry["name"].rpartition("/")[2]: int(entry["size"])
        for entry in found
        if entry["type"] == "file"
    }


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # somebody took it away since the folder was listed
        return None


def remove_leftovers(folder: AnyPath) -> int:
    """Deletes temporary files below a local folder whose writer on this host died; their number."""
    if not isinstance(folder, Path):
        return 0
    num_removed = 0
    for temporary in folder.glob(".*.tmp"):
        writer = _LEFTOVER.search(temporary.name)
        if writer and writer["host"] == _host() and not process_is_alive(int(writer["process"])):
            temporary.unlink(missing_ok=True)
            num_removed += 1
    return num_removed


def _writer() -> str:
    return f"{_host()}~{os.getpid()}-{threading.get_ident()}"


def _host() -> str:
    return socket.gethostname().replace(".", "-").replace("~", "-")


def process_is_alive(process: int) -> bool:
    """Whether a process of this host still runs; one that is dead but not yet reaped does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return True  # no /proc here: the signal was answered, which is all there is to know
    return state.split()[0] != "Z"
