"""What Dagster loads: the graph of a profile, jobs, nightly schedule, sensors, hub upload.

What does not belong here: assets (in `assets/`), resources (in `resources/`) and rules about
data (in `curation/`). Here it is only said what runs together, when, and what a failed run
reports.
"""

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """The campaign of the profile in force (`SYNPREF_PROFILE`, default demo)."""
    from synpref_dagster.definitions.build import build_defs

    return build_defs()
