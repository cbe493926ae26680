"""The files of a source: those of a folder that are data, and which are none by their name.

Data sets that `datasets` saved are recognised by the files that it writes beside them.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upath import UPath

from synpref_dagster.storage.uris import storage_options

STATE, SPLITS, DELTA = "state.json", "dataset_dict.json", "_delta_log"
_TITLES = re.compile(  # files about a data set, unless they have the name of data
    r"(license|licence|copying|readme)([._-][\w.-]*)?|"
    r"(copyright|notice|citation|contributing|code_of_conduct|changelog|changes|authors|"
    r"contributors|security|datasheet|data_card|datacard|dataset_card)(\.\w+)?",
    re.IGNORECASE,
)
_DATA = re.compile(
    r".*\.(jsonl?|ndjson|csv|tsv|parquet|arrow|feather)(\.(gz|zstd?|bz2|xz|lz4))?", re.IGNORECASE
)
_BESIDE = re.compile(
    r".*\.(md|rst|cff|bib|lock|crc|md5|sha1|sha256|sha512|asc|sig|part|tmp|py|ipynb)|"
    r"(md5|sha1|sha256|sha512)sums?(\.txt)?|checksums?(\.txt)?|makefile|dockerfile|"
    r"dataset_infos?\.json|croissant\.json|thumbs\.db|desktop\.ini|requirements\.txt",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """Paths of one source."""

    data: list[str | None]
    """Files to read, in order; None stands for a hub data set."""
    skipped: list[str] = field(default_factory=list)
    """Files that are no data by their name or place."""


def place_of(path: str) -> UPath:
    """The path of a source; an object store is the one of the store where that has an endpoint."""
    protocol, separator, _ = path.partition("://")
    options = storage_options(protocol) if separator else {}
    # Without an endpoint of ours, what the AWS client finds by itself holds, its region included.
    return UPath(path, **options) if "endpoint_url" in options else UPath(path)


def is_no_data(name: str) -> bool:
    """Whether a file is no data by its name: licence, readme, checksums, or hidden.

    >>> [is_no_data(name) for name in ("README.md", ".DS_Store", "_SUCCESS", "readme.jsonl")]
    [True, True, True, False]
    """
    if name[0] in "._":
        return True
    is_title = _TITLES.fullmatch(name) is not None and not _DATA.fullmatch(name)
    return is_title or _BESIDE.fullmatch(name) is not None


def _is_skipped(*parts: str) -> bool:
    *folders, name = parts
    return is_no_data(name) or any(folder[0] in "._" for folder in folders)


def files_below(folder: UPath) -> list[UPath]:
    """Every file below a folder, by name; folders behind links too, each once.

    Of a link to a file that is not there only the name is known.
    """
    if not isinstance(folder, Path):
        return sorted((one for one in folder.rglob("*") if one.is_file()), key=str)
    seen: set[str] = set()
    found = []
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(root, name) for name in names]
    return sorted((one for one in found if one.is_file() or one.is_symlink()), key=str)


def source_files(path: str | None, *, split: str | None = None) -> SourceFiles:
    """Files of a source: those of a folder that are data, else the path as it is.

    Args:
        path: of the source; None for a hub data set.
        split: of a folder in which `datasets` saved several.

    Raises:
        ValueError: a folder with several splits and none chosen, one that is no such folder, or a
            file that is listed there and missing.
    """
    if path is None or not place_of(path).is_dir():
        return SourceFiles([path])
    root = place_of(path)
    listed = {_below(root, file): file for file in files_below(root)}
    links = (file for file in listed.values() if isinstance(file, Path) and file.is_symlink())
    if gone := next((file for file in links if not file.exists()), None):
        raise ValueError(f"{gone} is a link to a file that is not there: is it mounted?")
    if any(DELTA in name.split("/")[:-1] for name in listed):
        raise ValueError(f"{path} is a Delta table, of which not every file counts: export it")
    wanted = {name for name in listed if not _is_skipped(*name.split("/"))}
    parts = [name for name in listed if name.rpartition("/")[2] == SPLITS]
    if split is not None and not parts:
        raise ValueError(f"{path} has no {SPLITS}, so no split {split!r}: take the option out")
    for name in parts:
        wanted -= _other_splits(listed, name, split)
    for name in listed:
        if name.rpartition("/")[2] == STATE:
            wanted -= _beside_saved(listed, name)
    data: list[str | None] = [str(listed[name]) for name in listed if name in wanted]
    return SourceFiles(data, [str(listed[name]) for name in listed if name not in wanted])


def _other_splits(listed: dict[str, UPath], name: str, split: str | None) -> set[str]:
    """What lies below the folder of a saved `DatasetDict`, except the one split."""
    splits = _json(listed[name]).get("splits")
    folder = name.removesuffix(SPLITS)
    where = listed[name].parent
    if not isinstance(splits, list) or not splits or not all(isinstance(s, str) for s in splits):
        raise ValueError(f"{listed[name]} names no splits: save the data set again")
    if split is None and len(splits) > 1:
        raise ValueError(
            f"{where} holds the splits {', '.join(map(str, splits))}: choose one by the option "
            f'split, for example options = {{ split = "{splits[0]}" }}'
        )
    chosen = split or str(splits[0])
    if chosen not in splits:
        raise ValueError(f"{where} has no split {chosen!r}; it has {', '.join(map(str, splits))}")
    return {
        each for each in listed if each.startswith(folder) and not
        each.startswith(f"{folder}{chosen}/")
    }  # fmt: skip


def _beside_saved(listed: dict[str, UPath], name: str) -> set[str]:
    """What lies beside the Arrow files that the state of a saved data set lists."""
    state = _json(listed[name])
    if "_data_files" not in state:
        return set()  # Some other file of this name.
    folder = name.removesuffix(STATE)
    files = state["_data_files"]
    if not isinstance(files, list) or not all(map(_names_a_file, files)):
        raise ValueError(f"{listed[name]} does not name its files: save the data set again")
    kept = {f"{folder}{each['filename']}" for each in files}
    if gone := sorted(kept - listed.keys()):
        raise ValueError(f"{listed[name]} lists {gone[0]}, which is not there: copy it as well")
    below: Iterable[str] = (each for each in listed if each.startswith(folder))
    return {each for each in below if "/" not in each.removeprefix(folder)} - kept


def _names_a_file(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("filename"), str)


def _json(file: UPath) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}): save the data set again") from error
    except RecursionError as error:
        raise ValueError(f"{file} is nested too deeply: save the data set again") from error
    return value if isinstance(value, dict) else {}


def _below(root: UPath, file: UPath) -> str:
    return str(file).removeprefix(str(root).rstrip("/") + "/")
