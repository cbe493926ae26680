"""What Dagster loads: the graph of a profile, jobs, nightly schedule, sensors, hub upload.

What does not belong here: assets (in `assets/`), resources (in `resources/`) and rules about
data (in `curation/`). Here it is only said what runs together, when, and what a failed run
reports.
"""

import gc

import dagster as dg

from synpref_dagster.settings.outlets import no_secrets_in_errors


@dg.definitions
def defs() -> dg.Definitions:
    """The campaign of the profile in force (`SYNPREF_PROFILE`, default demo)."""
    # What Dagster has loaded stays as long as the process: no collection needs to look for garbage
    # in it, neither while the rest is loaded nor at the end.
    gc.freeze()
    from synpref_dagster.definitions.build import build_defs
    from synpref_dagster.definitions.pools import limit_pools_here

    with no_secrets_in_errors():
        limit_pools_here()
        return build_defs()
