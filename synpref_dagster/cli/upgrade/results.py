"""What the store holds of older rules: which results the next run computes anew, and why."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg

from synpref_dagster.cli.upgrade.changes import Change
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.settings.profile import Profile
from synpref_dagster.storage.manifest import FORMAT_VERSION, format_version

CODE_VERSION = "dagster/code_version"
MANIFEST = "manifest.json"


def result_changes(profile: Profile, instance: dg.DagsterInstance | None) -> Iterator[Change]:
    """What of a campaign's results this version does not take as it is.

    Args:
        profile: of the campaign.
        instance: where its history is; None where there is none.
    """
    root = profile.store_root()
    if instance is not None and (raised := _raised(profile, instance)):
        named = ", ".join(f"{name} ({old} to {new})" for name, (old, new) in raised.items())
        yield Change(
            place=root,
            says=f"the next run computes anew what has other rules since: {named}. What follows is "
            "computed anew where they give something else",
            loses="nothing that was paid for: replies of judges and answers of people are found "
            "again, and old results stay in the store",
        )
    if "://" not in root and (unreadable := [*_of_another_format(Path(root))]):
        yield Change(
            place=root,
            says=f"{len(unreadable)} data sets have another format than {FORMAT_VERSION}, for "
            f"instance {unreadable[0]}: the next run makes them anew",
            loses="what lies in them; keep the folder if you need it",
        )


def _raised(profile: Profile, instance: dg.DagsterInstance) -> Mapping[str, tuple[str, str]]:
    """Asset -> code version of its last result in this campaign, and its version now."""
    found: dict[str, tuple[str, str]] = {}
    nodes = build_defs(profile).resolve_asset_graph().asset_nodes
    for node in sorted(nodes, key=lambda each: each.key):
        event = instance.get_latest_materialization_event(node.key)
        made = event.asset_materialization if event else None
        if made is None or node.code_version is None or not _is_of(profile, made):
            continue
        known = (made.tags or {}).get(CODE_VERSION)
        if known is not None and known != node.code_version:
            found[node.key.to_user_string()] = (known, node.code_version)
    return found


def _is_of(profile: Profile, made: dg.AssetMaterialization) -> bool:
    """Whether a result is of this campaign; earlier ones do not say of which they are."""
    told = made.metadata.get("profile")
    return told is None or told.value == profile.name


def _of_another_format(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob(MANIFEST)):
        if format_version(path.read_bytes()) not in (None, FORMAT_VERSION):
            yield str(path.parent)
