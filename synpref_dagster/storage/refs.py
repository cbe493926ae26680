"""What assets hand each other: small frozen references to data that stays where it is.

A reference names one immutable state: its fingerprint depends on content alone, and resolves
also after the folder behind it was published again. References travel as JSON with a kind tag.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from synpref_dagster.storage.sealed import sealed, unsealed
from synpref_dagster.storage.uris import AnyPath, read_bytes


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """One published state of a data set: `num_rows` rows below `uri`."""

    uri: str
    num_rows: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class SelectionRef:
    """Outcome of a selection: what was kept, and what was dropped with a reason."""

    kept: DatasetRef
    dropped: DatasetRef


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One trained checkpoint folder."""

    uri: str
    fingerprint: str
    trained_on: DatasetRef | None = None
    """What is told of the data it was trained on, where it was kept; no part of its identity."""


Ref: TypeAlias = DatasetRef | SelectionRef | ModelRef
# A reference, or a mapping of names to references or plain JSON values (also nested).
RefTree: TypeAlias = Ref | Mapping[str, Any]


def to_json(value: RefTree, *, place: str = "") -> str:
    """JSON text of a reference, a mapping of references, or a plain JSON mapping.

    >>> print(to_json(ModelRef("models/a", "f0")))  # doctest: +NORMALIZE_WHITESPACE
    {"#blake2b": "2eb7e126cdcea3bfcaf074912f04e422", "fingerprint": "f0", "kind": "model",
     "uri": "models/a"}

    Args:
        value: what to write.
        place: the name of the file that it is for, where files may change places.

    Raises:
        ValueError: something in it is neither a reference nor JSON.
    """
    document = sealed(_encode(value), place=place)
    return json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False)


def find_ref(path: AnyPath, *, place: str = "") -> Any:
    """What `to_json` wrote into a file; None when there is none.

    Raises:
        ValueError: the file is damaged, or for another place; it is named.
    """
    content = read_bytes(path)
    if content is None:
        return None
    try:
        return from_json(content.decode(), place=place)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read, {error}: materialize its asset again") from error


def from_json(text: str, *, place: str = "") -> Any:
    """What `to_json` was given: a reference, or a dict whose references are restored.

    Raises:
        ValueError: the text is no JSON written by `to_json`, damaged, or for another place.
    """
    decoded = unsealed(text, place=place)
    if not isinstance(decoded, dict) or "kind" not in decoded:
        raise ValueError(f"not a stored reference: {text[:80]!r}; materialize its asset again")
    return _decode(decoded)


def _encode(value: Any) -> Any:
    match value:
        case DatasetRef():
            return {
                "kind": "dataset",
                "uri": value.uri,
                "num_rows": value.num_rows,
                "fingerprint": value.fingerprint,
            }
        case SelectionRef():
            kept, dropped = _encode(value.kept), _encode(value.dropped)
            return {"kind": "selection", "kept": kept, "dropped": dropped}
        case ModelRef():
            about = {"kind": "model", "uri": value.uri, "fingerprint": value.fingerprint}
            told = {"trained_on": _encode(value.trained_on)} if value.trained_on else {}
            return {**about, **told}
        case Mapping():
            _check_keys(value)
            return {"kind": "mapping", "items": {key: _encode(value[key]) for key in value}}
        case list() | tuple():
            return [_encode(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
    raise ValueError(
        f"cannot store a {type(value).__name__} as a reference: hand over a DatasetRef, "
        "SelectionRef, ModelRef or plain JSON values"
    )


def _check_keys(mapping: Mapping[Any, Any]) -> None:
    if wrong := [key for key in mapping if not isinstance(key, str)]:
        raise ValueError(f"cannot store keys {wrong!r} as a reference: use strings")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"kind": "dataset", "uri": uri, "num_rows": num_rows, "fingerprint": fingerprint}:
            return DatasetRef(uri, num_rows, fingerprint)
        case {"kind": "selection", "kept": kept, "dropped": dropped}:
            return SelectionRef(_decode(kept), _decode(dropped))
        case {"kind": "model", "uri": uri, "fingerprint": fingerprint}:
            told = value.get("trained_on")
            return ModelRef(uri, fingerprint, _decode(told) if told else None)
        case {"kind": "mapping", "items": dict(items)}:
            return {key: _decode(item) for key, item in items.items()}
    raise ValueError(
        f"unknown kind of reference {value.get('kind')!r}; materialize its asset again"
    )
