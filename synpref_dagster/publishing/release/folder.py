"""A release as a folder that anybody can load: weights, tokenizer, template, card, manifest.

The folder is written beside its place and moved there whole; `training_manifest.json` goes in last
and lists every file with its SHA-256. Configuration files also say what older readers look for
(transformers 4 and what is built on it): without it they would fall back to another rotary base or
refuse the tokenizer, silently or not.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synpref_dagster.reward.frozen.places import is_frozen
from synpref_dagster.storage.atomic import beside, put_in_place
from synpref_dagster.storage.damage import CHECKSUMS

MANIFEST = "training_manifest.json"
CARD = "README.md"
NOT_RELEASED = ("state", "built.json", CHECKSUMS)
READ_BYTES = 1 << 22
PORTABLE_TOKENIZER = "PreTrainedTokenizerFast"
OWN_TOKENIZER_KEYS = ("backend", "is_local", "local_files_only")


def registered_name(profile: str, size: str) -> str:
    """What the releases of a size are registered as, e.g. `demo-skywork-reward-v2-qwen3-0.6b`."""
    return f"{profile}-skywork-reward-v2-{size}"


def write_release(
    checkpoint: Path, target: Path, *, texts: Mapping[str, str], manifest: Mapping[str, Any]
) -> Path:
    """Write a release folder, or replace the one that is there.

    Args:
        checkpoint: finished checkpoint folder.
        target: the release folder.
        texts: further files by name, the card among them.
        manifest: what the release was made from; hashes of all files are added.

    Raises:
        ValueError: the checkpoint has no `config.json`, so that nothing could load it.
    """
    if not (checkpoint / "config.json").is_file() and not is_frozen(checkpoint):
        raise ValueError(
            f"{checkpoint} is no Hugging Face folder: only backbones and stand-ins can be "
            "released, set `release.backend` to one of them"
        )
    part = beside(target)
    if is_frozen(checkpoint):
        from synpref_dagster.reward.frozen.releasing import stand_alone

        stand_alone(checkpoint, part)
    else:
        shutil.copytree(checkpoint, part, ignore=lambda _, names: set(names) & set(NOT_RELEASED))
    _rewrite(part / "config.json", portable_config)
    _rewrite(part / "tokenizer_config.json", portable_tokenizer_config)
    for name, text in texts.items():
        (part / name).write_text(text, encoding="utf-8")
    write_manifest(part, manifest)
    put_in_place(part, target)
    return target


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write `training_manifest.json` with the SHA-256 of every other file below the folder."""
    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({**manifest, "sha256": files}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def changed_files(folder: Path) -> list[str]:
    """Files of a release that are missing or differ from its manifest; empty when all is well."""
    stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"]
    return [
        name
        for name, digest in stored.items()
        if not (folder / name).is_file() or sha256(folder / name) != digest
    ]


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(READ_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def portable_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model configuration that transformers 4 reads as transformers 5 does.

    >>> portable_config({"dtype": "float32", "rope_parameters": {"rope_theta": 5.0,
    ...                  "rope_type": "default"}})["rope_theta"]
    5.0
    """
    rope = config.get("rope_parameters") or {}
    older: dict[str, Any] = {}
    if "rope_theta" in rope:
        older["rope_theta"] = rope["rope_theta"]
        if rope.get("rope_type", "default") != "default":
            older["rope_scaling"] = {k: v for k, v in rope.items() if k != "rope_theta"}
    if "dtype" in config:
        older["torch_dtype"] = config["dtype"]
    return {**older, **config}


def portable_tokenizer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer configuration that names a class of transformers 4 and 5 alike."""
    portable = {key: value for key, value in config.items() if key not in OWN_TOKENIZER_KEYS}
    if portable.get("tokenizer_class") == "TokenizersBackend":
        portable["tokenizer_class"] = PORTABLE_TOKENIZER
    # Without it a plain tokenizer also returns segment ids, which these backbones refuse.
    portable.setdefault("model_input_names", ["input_ids", "attention_mask"])
    if isinstance(portable.get("extra_special_tokens"), list):
        portable["additional_special_tokens"] = portable.pop("extra_special_tokens")
    return portable


def _rewrite(file: Path, change: Any) -> None:
    if file.is_file():
        changed = change(json.loads(file.read_text(encoding="utf-8")))
        file.write_text(json.dumps(changed, indent=2, sort_keys=True) + "\n", encoding="utf-8")
