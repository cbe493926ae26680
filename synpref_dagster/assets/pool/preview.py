"""Before box 1: what `synpref check` says, as a page in Dagster."""

import dagster as dg

from synpref_dagster.assets.pool.personal_data import LEFT_OUT_TAG
from synpref_dagster.assets.pool.raw import GROUP
from synpref_dagster.assets.step import OWNERS
from synpref_dagster.preview.check import checked
from synpref_dagster.preview.page import as_markdown
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.outlets import no_secrets_in_errors
from synpref_dagster.settings.secrets import all_redacted


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"python"}, code_version="2", tags=LEFT_OUT_TAG)
def pool_check(campaign: Campaign) -> dg.MaterializeResult:
    """What a campaign will meet, need and cost, said before it starts; no part of one.

    Reads every source once and writes nothing into the store: the page is its metadata. Endpoints
    are asked for their list of models, and nothing else. Quarantined rows are shown as they begin,
    but for sources that may not leave this machine: Dagster's storage may be elsewhere.
    """
    with no_secrets_in_errors():
        page = checked(campaign.profile, silent=campaign.profile.pool.staying())
    metadata = {
        "check": dg.MetadataValue.md(as_markdown(page)),
        "num_must_change": len(page.must_change),
        "num_to_look_at": len(page.look_at),
        **{name: page.facts[name] for name in ("num_pairs", "num_distinct", "num_clean")},
    }
    return dg.MaterializeResult(metadata=all_redacted(metadata))
