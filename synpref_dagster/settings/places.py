"""Paths in a profile file: they start from the folder of that file, wherever it is read from.

In a file of the working folder they stay as they are written, so that keys made of them stay too.
What packaged profiles and `SYNPREF_*` variables say starts from the working folder.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synpref_dagster.settings.models import is_path

Change = Callable[[str], str]
SQLITE = ("sqlite://", "sqlite+pysqlite://")
ON_THE_HUB = "hub"  # of a benchmark: no path


def relative_to_file(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a profile file says, with its paths made whole.

    Args:
        values: tables as in the file; what is no legal setting is left as it is.
        folder: of the file.
    """
    if is_working_folder(folder):
        return dict(values)
    root, changed = Path(os.path.abspath(folder)), dict(values)  # noqa: PTH100 - keeps links
    for place, change in PLACES.items():
        changed = _changed(changed, place.split("."), _from(change, root))
    return changed


def _from(change: Callable[[str, Path], str], root: Path) -> Change:
    def changed(text: str) -> str:
        return change(text, root)

    return changed


def is_working_folder(folder: Path) -> bool:
    """Whether a path that starts from this folder is the same when it is read as it is."""
    return os.path.realpath(folder) == os.path.realpath(Path.cwd())


def whole(place: str, *, may_be_on_hub: bool) -> str:
    """A place that starts from the working folder, for a file that lies elsewhere.

    Args:
        place: as a variable of the environment says it.
        may_be_on_hub: whether `owner/name` means the hub where no such folder is.
    """
    is_local = is_path(place) or Path(place).exists() or not may_be_on_hub
    return _joined(place, Path.cwd()) if is_local else place


def _joined(text: str, root: Path) -> str:
    is_local = text and "://" not in text and not text.startswith("~")
    return str(root / text) if is_local else text


def _benchmark(text: str, root: Path) -> str:
    return text if text == ON_THE_HUB else _joined(text, root)


def _backbone(text: str, root: Path) -> str:
    """`owner/name` is a folder where there is one, or a folder `owner`, beside the file."""
    named = Path(root, text)
    is_folder = named.is_dir() or ("/" in text and named.parent.is_dir())
    return _joined(text, root) if is_path(text) or is_folder else text


def _ledger(text: str, root: Path) -> str:
    scheme, separator, rest = text.partition(":///")
    is_plain = rest and not rest.startswith((":memory:", "file:"))
    if f"{scheme}://".lower() not in SQLITE or not separator or not is_plain:
        return text
    return f"{scheme}:///{root / rest}"


PLACES: Mapping[str, Callable[[str, Path], str]] = {
    "pool.sources.*.path": _joined,
    "pool.benchmarks.*": _benchmark,
    "pool.custom_benchmarks.*": _joined,
    "judges.cache": _joined,
    "people.ledger_url": _ledger,
    "backbones.*.path": _backbone,
    "embedding.path": _backbone,
    "reward_model.backbone": _backbone,
    "release.backbones.*": _backbone,
}
"""Settings that are paths; `*` stands for every row or name."""


def _changed(value: Any, parts: list[str], change: Change) -> Any:
    """The value with every text at the place changed; whatever is not there stays away."""
    if not parts:
        return change(value) if isinstance(value, str) else value
    name, *rest = parts
    if isinstance(value, list) and name == "*":
        return [_changed(each, rest, change) for each in value]
    if isinstance(value, Mapping):
        return {
            key: _changed(each, rest, change) if name in ("*", key) else each
            for key, each in value.items()
        }
    return value
