"""What a code location was loaded with, and the profile as its file says now.

A code location keeps the profile that it was loaded with; runs read the file anew, in processes of
their own. Schedules and sensors therefore read it at every tick: they judge by what a run that they
ask for would obey. Only what the graph consists of cannot change without a reload.
"""

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from synpref_dagster.assets.run_guard import RELOAD
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import Profile, load_profile


@dataclass(frozen=True, kw_only=True)
class LoadedProfile:
    """The profile of a code location, and how to look whether it is still that one."""

    profile: Profile
    """As it was when the location was loaded."""
    name: str | None
    """What was loaded, a packaged profile or a path; None for a profile made in code."""
    build: Callable[[Profile], dg.Definitions]
    """Gives the definitions of a profile."""
    _shapes: dict[str, Any] = field(init=False, default_factory=dict)

    @property
    def prefix(self) -> str:
        """First part of the keys of the location's assets."""
        return self.profile.key_prefix

    def tick(self, instance: dg.DagsterInstance) -> Campaign | dg.SkipReason:
        """The campaign as its file says now, or why nothing can be asked of it."""
        try:
            now = load_profile(self.name) if self.name else self.profile
        except (ValueError, OSError, tomllib.TOMLDecodeError) as error:
            said = " ".join(str(error).split())
            return dg.SkipReason(f"the profile {self.name} cannot be read as it is now: {said}")
        if now != self.profile and self._shape(now) != self._shape(self.profile):
            return dg.SkipReason(
                f"the profile {self.name} gives other assets, jobs or sensors than when its code "
                f"location was loaded: {RELOAD}"
            )
        campaign = Campaign.of(now)
        refusal = campaign.refusal_to_mix(instance)
        return dg.SkipReason(refusal) if refusal else campaign

    def _shape(self, profile: Profile) -> Any:
        """What runs are planned by and Dagster asks at ticks."""
        known = profile.model_dump_json()
        if known not in self._shapes:
            self._shapes[known] = _shape_of(self.build(profile))
        return self._shapes[known]


def _shape_of(defs: dg.Definitions) -> Any:
    graph = defs.resolve_asset_graph()
    nodes = {
        key: (frozenset(node.parent_keys), node.group_name, dict(node.tags))
        for key in graph.get_all_asset_keys()
        for node in [graph.get(key)]
    }
    return nodes, set(graph.asset_check_keys), _names(defs.sensors), _names(defs.jobs)


def _names(definitions: Iterable[Any] | None) -> set[str]:
    return {each.name for each in definitions or ()}
