"""Pushing a release to the Hugging Face hub: a job of its own, never part of a campaign.

It uploads what the registry calls champion (or another alias), or the curated data, to a repository
that is named in the run's config, private unless told otherwise.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import dagster as dg

from synpref_dagster.publishing.release.folder import MANIFEST, changed_files, registered_name
from synpref_dagster.publishing.release.terms import check_release, staying_sources
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.hub import Hub
from synpref_dagster.resources.tracking.registry import CHAMPION
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.outlets import no_secrets_in_errors

CURATED = "curated_dataset"


class PushConfig(dg.Config):
    """What to push, and where to."""

    what: str
    """A model size, or `curated_dataset`."""
    repo_id: str
    """`owner/name` on the hub."""
    alias: str = CHAMPION
    """Which registered version of the model."""
    fingerprint: str = ""
    """Which curated data set, by the name of its folder; needed for `curated_dataset`."""
    private: bool = True


@dg.op(out=dg.Out(dagster_type=dg.Nothing))
def push_release(
    context: dg.OpExecutionContext,
    config: PushConfig,
    campaign: Campaign,
    tracking: MlflowTracking,
    hub: Hub,
) -> None:
    """Upload one release; refused when a file was changed or a source may not be exported."""
    folder = release_folder(config, campaign, tracking)
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} is no release: materialise it first")
    if changed := changed_files(folder):
        raise ValueError(f"{folder} was changed after its release: {', '.join(changed)}")
    check_release(folder, campaign.profile.export.allowed_licences)
    campaign.refuse_leaving(hub.destination, also=staying_sources(folder))
    repo_type = "dataset" if config.what == CURATED else "model"
    with no_secrets_in_errors():
        address = hub.upload(folder, config.repo_id, repo_type=repo_type, private=config.private)
    metadata: Mapping[str, Any] = {"address": address, "folder": str(folder)}
    context.add_output_metadata(metadata)
    context.log.info(f"pushed {folder} to {config.repo_id}: {address}")


def release_folder(config: PushConfig, campaign: Campaign, tracking: MlflowTracking) -> Path:
    """The folder that a push is about.

    Raises:
        ValueError: no such size, no version under that alias, or no such curated data set.
    """
    if config.what == CURATED:
        if not config.fingerprint.isalnum():
            raise ValueError("name the curated data set's folder in `fingerprint`")
        return campaign.local_folder("releases", CURATED) / config.fingerprint
    sizes = campaign.profile.sizes()
    if config.what not in sizes:
        raise ValueError(f"what={config.what!r}: use {CURATED} or one of {', '.join(sizes)}")
    name = registered_name(campaign.profile.name, config.what)
    found = tracking.registry().aliased(name, config.alias)
    if found is None:
        raise ValueError(f"{name} has no version with alias {config.alias!r}; nothing was pushed")
    return Path(unquote(urlparse(found.source).path))


@dg.job(description="Upload one release to the Hugging Face hub. Needs HF_TOKEN and a run config.")
def push_to_hub() -> None:
    """Explicit and separate: no schedule, no sensor and no other job starts it."""
    push_release()
