"""Folders of backbones and encoders that a profile names, and which of them are none."""

from pathlib import Path

from synpref_dagster.settings.embedding import SentenceEmbedding
from synpref_dagster.settings.models import HubReleaseSettings, HubSettings, is_path
from synpref_dagster.settings.profile import Profile


def missing_backbones(profile: Profile) -> list[str]:
    """A line for each folder that is not there, or holds no model.

    A name like `owner/name` may be one on the hub, unless `owner` is a folder here.
    """
    given = {
        f"backbones[{number}].path": (row.path, row.gguf_file or "config.json")
        for number, row in enumerate(profile.backbones)
        if row.path is not None
    }
    if isinstance(profile.reward_model, HubSettings) and profile.reward_model.backbone:
        given["reward_model.backbone"] = profile.reward_model.backbone, "config.json"
    if isinstance(profile.release, HubReleaseSettings):
        for size, place in profile.release.backbones.items():
            given[f"release.backbones.{size}"] = place, "config.json"
    if isinstance(profile.embedding, SentenceEmbedding):
        given["embedding.path"] = profile.embedding.path, "config.json"
    return [
        f"{setting}: {place} is no folder of a model (it has no {file}): correct the path"
        for setting, (place, file) in given.items()
        if (is_path(place) or Path(place).is_dir() or _is_below_a_folder(place))
        and not Path(place, file).is_file()
    ]


def _is_below_a_folder(place: str) -> bool:
    return "/" in place and Path(place).parent.is_dir()
