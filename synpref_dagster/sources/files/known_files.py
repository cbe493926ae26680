"""Source files tonight against those of the night before: their order, and which are gone.

Of two equal pairs the first one read is kept. So whoever was there and did not change comes first.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from upath import UPath

from synpref_dagster.sources.files.content_hashes import ContentHashes
from synpref_dagster.sources.files.identity import file_identities
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.storage import find_manifest, hash_json, make_ref, read_table

# What decides which pairs a file gives; licence and citation travel with exports, not with rows.
_IDENTIFYING = ("name", "hub_id", "revision", "format", "origin")
NUM_NAMED = 3  # files in an error message
READ_APART = "read_apart"
"""Fact of a list of files beside which those that were read have a list of their own."""


@dataclass(frozen=True, slots=True)
class PoolFile:
    """What tells one source file from another, and from its next version."""

    source: str
    name: str
    """Source and place below it; stays when the whole source moves or the content changes."""
    content: str
    """What is in it, whatever it is called; empty where it was listed without."""
    key: str
    """What its pairs depend on: content, specification and what quarantined rows call it."""


def listed_file(
    spec: SourceSpec, root: str | None, hashes: ContentHashes
) -> tuple[dict[str, str], PoolFile]:
    """The row that reading a file depends on, see `read_file`, and how the file is known again.

    Args:
        spec: of the file.
        root: path of the source that it belongs to.
        hashes: of local files.
    """
    about = {name: getattr(spec, name) for name in _IDENTIFYING}
    text = json.dumps({**about, "options": dict(spec.options)}, sort_keys=True)
    # Not by the number of files: a second one must not change what is said of the first.
    named = "" if spec.path == root else _base_name(str(spec.path))
    identity = content = hub_version(spec)
    if spec.path:
        identity, content = file_identities(spec.path, digest=hashes.digest)
    key = str(hash_json([text, named, identity]))
    file = f"{spec.name}/{_base_name(spec.path) if spec.path else spec.hub_id}"
    row = {"spec": text, "key": key, "file": file, "named": named}
    name = file_name(replace(spec, path=root), str(spec.path)) if named else file
    return row, PoolFile(source=spec.name, name=name, content=content, key=key)


def file_name(source: SourceSpec, path: str) -> str:
    """What a file below the folder of a source is known by: the source, and its place in there."""
    return f"{source.name}/{_below(str(source.path), path)}"


def hub_version(spec: SourceSpec) -> str:
    """What the hub calls the content of a data set."""
    return f"{spec.hub_id}@{spec.revision}"


def files_read_before(read: str, listed: str) -> list[PoolFile]:
    """Files whose pairs an earlier night has, in the order in which they were read.

    A file that was listed and then refused was never read: it may go as it came.

    Args:
        read: where the list of files that were read is published.
        listed: where the list of all files is, which an earlier version kept alone.
    """
    manifest = find_manifest(listed)
    reads_are_apart = manifest is not None and READ_APART in manifest.meta
    return known_files(read) or ([] if reads_are_apart else known_files(listed))


def known_files(uri: str) -> list[PoolFile]:
    """Files of the list published at `uri`, in the order in which they were read."""
    manifest = find_manifest(uri)
    if manifest is None:
        return []
    if "files" in manifest.meta:
        return [PoolFile(**about) for about in manifest.meta["files"]]
    # Listed by a version that kept less: keys and names are known, contents are not.
    rows = read_table(make_ref(uri, manifest)).to_pylist()
    return [
        PoolFile(
            source=json.loads(row["spec"])["name"],
            name=row.get("file", ""),
            content="",
            key=row["key"],
        )
        for row in rows
    ]


def as_facts(files: Sequence[PoolFile]) -> Mapping[str, object]:
    """The files in the form in which `known_files` finds them in a manifest."""
    return {"files": [asdict(file) for file in files]}


def reading_order(files: Sequence[PoolFile], known: Sequence[PoolFile]) -> list[int]:
    """Numbers of `files` in the order to read them in.

    Unchanged files first, in the order of `known`; then those that hold something else than
    before, in that order too; then new ones, as they come. A file is unchanged while its content
    is, under another name or specification as well. A copy of a file that is still there is new.
    """
    keys = {file.key for file in files}
    by_key: dict[str, int] = {}
    by_content: dict[tuple[str, str], int] = {}
    by_name: dict[str, int] = {}
    for place, file in enumerate(known):
        by_key.setdefault(file.key, place)
        by_name.setdefault(file.name, place)
        if file.content and file.key not in keys:
            by_content.setdefault((file.source, file.content), place)

    def rank(number: int) -> tuple[int, int]:
        file = files[number]
        unchanged = by_key.get(file.key, by_content.get((file.source, file.content)))
        if unchanged is not None:
            return 0, unchanged
        return (1, by_name[file.name]) if file.name in by_name else (2, number)

    return sorted(range(len(files)), key=rank)


def check_none_gone(
    files: Sequence[PoolFile], known: Sequence[PoolFile], *, skipped: Collection[str] = ()
) -> None:
    """Refuses a smaller pool that nobody asked for.

    Args:
        files: tonight's.
        known: those of the night before.
        skipped: names of files that are there and no longer taken for data.

    Raises:
        ValueError: a known file of a source that is still read is neither there under its name
            nor, with its content, under another name of that source.
    """
    sources = {file.source for file in files}
    there = {file.key for file in files} | {file.name for file in files}
    contents = {(file.source, file.content) for file in files}
    gone = [
        file.name or file.source
        for file in known
        if file.source in sources
        and file.name not in skipped
        and not there & {file.key, file.name}
        and (file.source, file.content) not in contents
    ]
    if gone:
        more = f" and {len(gone) - NUM_NAMED} more" if len(gone) > NUM_NAMED else ""
        raise ValueError(
            f"source files that were read before are gone: {', '.join(gone[:NUM_NAMED])}{more}; "
            "put them back or, when their pairs are to leave the pool, set "
            "pool.allow_missing_files = true"
        )


def _below(root: str, path: str) -> str:
    return path.removeprefix(f"{UPath(root)}".rstrip("/") + "/")


def _base_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
