"""`CampaignComponent`: a whole campaign in a project of components, by a few lines of YAML.

    dg scaffold defs synpref_dagster.definitions.builders.CampaignComponent curation

writes `curation/defs.yaml` and the profile it names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from synpref_dagster.settings.names import checked_name, checked_prefix

PROFILE_FILE = "profile.toml"
PROFILE = """\
# The campaign: its own name and prefix over a packaged profile. `synpref init FILE ...` writes one
# for pairs of yours; docs/profile_reference.md has every setting.
extends = "demo"
name = "{name}"
key_prefix = "{name}"
"""


class _WithProfile(dg.Scaffolder[Any]):
    """A component's file, and a profile beside it."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write both; a profile that is there already stays."""
        from dagster.components import scaffold_component

        name = request.target_path.name
        checked_name("campaign", checked_prefix(name))
        scaffold_component(request, {"profile": PROFILE_FILE})
        profile = request.target_path / PROFILE_FILE
        if not profile.exists():
            profile.write_text(PROFILE.format(name=name), encoding="utf-8")


@dg.scaffold_with(_WithProfile)
class CampaignComponent(dg.Component, dg.Model, dg.Resolvable):
    """A campaign: assets from the raw pool to checkpoints, checks, jobs, nightly schedule, sensors.

    Its resources keep their keys, so that a code location holds one campaign.
    """

    profile: str
    """A file beside this one, another path, or the name of a packaged profile."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The campaign's definitions, without an `io_manager`, which is the project's to choose."""
        from synpref_dagster.definitions.build import build_defs
        from synpref_dagster.definitions.pools import limit_pools_here
        from synpref_dagster.settings.outlets import no_secrets_in_errors

        with no_secrets_in_errors():
            limit_pools_here()
            found = build_defs(_place(self.profile, context.path))
        kept: Mapping[str, Any] = found.resources or {}
        own = {key: value for key, value in kept.items() if key != "io_manager"}
        return dg.Definitions(
            assets=found.assets,
            asset_checks=found.asset_checks,
            jobs=found.jobs,
            schedules=found.schedules,
            sensors=found.sensors,
            resources=own,
        )


def _place(profile: str, folder: Path) -> str:
    beside = folder / profile
    return str(beside) if beside.is_file() else profile
