"""A key prefix on a campaign that is there: everything is found again, and only keys are new."""

import pytest

PREFIX = "own"


@pytest.mark.slow
def test_a_prefix_finds_the_store_again_and_moves_no_file(finished_campaign, start_campaign):
    before = finished_campaign.files()
    prefixed = start_campaign(finished_campaign.base, key_prefix=PREFIX).run("curate_pool")
    versions = {
        name.removeprefix(f"{PREFIX}/"): version
        for name, version in prefixed.data_versions().items()
        if name.startswith(f"{PREFIX}/")
    }
    assert len(versions) == len(prefixed.data_versions())
    first = finished_campaign.data_versions()
    assert versions == {name: first[name] for name in versions}
    assert finished_campaign.changed_since(before) == set()
