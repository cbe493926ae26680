"""Assets for code locations of other people, over the tools: filter pairs, measure reward models.

    from synpref_dagster.definitions.builders import build_benchmark_assets, build_filter_assets

They know no campaign: no profile, no resource, no store of ours. Files lie in the folder that is
named, results are metadata, so that any IO manager and any instance will do.

What does not belong here: what an asset computes, which is in `tools/`; a campaign's own assets
(`assets/`) and how they hang together (`definitions/build.py`).
"""

from synpref_dagster.definitions.builders.benchmarks import build_benchmark_assets
from synpref_dagster.definitions.builders.component import CampaignComponent
from synpref_dagster.definitions.builders.filtering import build_filter_assets

__all__ = ["CampaignComponent", "build_benchmark_assets", "build_filter_assets"]
