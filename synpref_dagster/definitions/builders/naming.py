"""Keys of built assets, and what they tell of a table."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    import pandas as pd

KeyPrefix = str | Sequence[str] | None
Deps = Sequence[dg.AssetKey | dg.AssetsDefinition | str]
"""Assets that have to be there before others."""
_NAME = re.compile(r"[A-Za-z0-9_]+")


def prefixed(prefix: KeyPrefix, name: str) -> dg.AssetKey:
    """The key of an asset below a prefix."""
    parts = [prefix] if isinstance(prefix, str) else list(prefix or ())
    return dg.AssetKey([*parts, name])


def checked_names(models: Mapping[str, str], *, least: int, most: int | None = None) -> None:
    """Refuse models that cannot name assets.

    Args:
        models: name -> folder or hub id.
        least: how many there must be.
        most: how many there may be; None is any number.

    Raises:
        ValueError: in one line.
    """
    if len(models) < least or (most is not None and len(models) > most):
        wanted = str(least) if most == least else f"at least {least}"
        raise ValueError(f"models: {len(models)} are named, give {wanted}, as name -> folder")
    if odd := [name for name in models if not _NAME.fullmatch(name)]:
        raise ValueError(f"models: {odd[0]!r} names an asset: use letters, digits and underscores")


def as_markdown(frame: "pd.DataFrame") -> dg.MarkdownMetadataValue:
    """A small table as Dagster shows it."""
    text = frame.to_markdown(index=False, floatfmt=".3f") if len(frame) else "none"
    return dg.MetadataValue.md(text)
