"""What every asset says about the campaign that it was made for."""

import dagster as dg
import pandas as pd
import pytest
from fakes import NullTracking

from synpref_dagster.assets.step import campaign_step
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import Profile, load_profile


def test_a_run_from_the_pages_and_its_result_name_profile_and_seed(tmp_path):
    profile = load_profile("smoke", seed=7)
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))

    @dg.asset(code_version="1", dagster_type=dg.Any)
    def pool(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with campaign_step(context, campaign, NullTracking()) as step:
            return step.result(step.dataset(lambda: pd.DataFrame({"n": [1]}), inputs=[]))

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([pool], instance=instance, tags={"synpref/reason": "night"})
        tags = instance.get_run_by_id(result.run_id).tags
    assert (
        tags.items()
        >= {
            "synpref/profile": "smoke",
            "synpref/seed": "7",
            "synpref/reason": "night",
        }.items()
    )
    metadata = result.asset_materializations_for_node("pool")[0].metadata
    assert (metadata["profile"].value, metadata["seed"].value) == ("smoke", 7)


def test_no_step_begins_where_its_tracker_is_elsewhere_and_texts_may_not_leave(tmp_path):
    diary = {"name": "diary", "path": "x", "origin": "human", "may_leave": False}
    pool = {"kind": "sources", "sources": [diary]}
    profile = Profile.model_validate({**load_profile("smoke").model_dump(), "pool": pool})
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))
    begun = []

    @dg.asset(code_version="1", dagster_type=dg.Any)
    def pool_of(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        tracking = NullTracking(tracking_uri="https://tracker.example.com")
        with campaign_step(context, campaign, tracking):
            begun.append(context)

    with pytest.raises(ValueError, match=r"'diary' .* tracker\.example\.com \(MLflow\)"):
        dg.materialize([pool_of], instance=dg.DagsterInstance.ephemeral())
    assert begun == []
