"""A real `dagster dev`: what its API says of the assets, a backfill of one size, and the page."""

import os
import time
from pathlib import Path

import pytest

SIZE = "llama-3.2-1b"
BACKFILL_SECONDS = 420  # the daemon looks every 30 seconds, and each run is a process of its own
LOCATION = "synpref_dagster"

ASSETS = """
{ assetNodes { assetKey { path } description groupName kinds isPartitioned
  owners { ... on TeamAssetOwner { team } ... on UserAssetOwner { email } }
  repository { location { name } } } }
"""
LAUNCH = """
mutation ($keys: [AssetKeyInput!]!, $names: [String!]!) {
  launchPartitionBackfill(backfillParams: {assetSelection: $keys, partitionNames: $names}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  } }
"""
STATUS = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status runs(limit: 10) { id status tags { key value } } } } }
"""


@pytest.fixture(scope="module")
def nodes(dagster_server):
    found = dagster_server.ask(ASSETS)["assetNodes"]
    return {"/".join(node["assetKey"]["path"]): node for node in found}


@pytest.mark.servers
@pytest.mark.timeout(1800)
def test_every_asset_is_described_owned_and_grouped_for_the_reader_of_the_ui(nodes):
    assert {"raw_pool", "iteration_01/reward_model", "skywork_reward_v2"} <= nodes.keys()
    for name, node in nodes.items():
        assert len(node["description"] or "") > 40, name
        assert [owner["team"] for owner in node["owners"]] == ["preference-data"], name
        assert node["kinds"], name
        assert node["groupName"][0] in "1234567", name
        assert node["repository"]["location"]["name"] == LOCATION
    assert {name for name, node in nodes.items() if node["isPartitioned"]} >= {
        "skywork_reward_v2",
        "benchmark_scores",
    }


@pytest.mark.servers
@pytest.mark.timeout(1800)
def test_a_backfill_of_one_size_changes_that_size_only(dagster_server, finished):
    before = finished.written()
    keys = [{"path": ["skywork_reward_v2"]}, {"path": ["benchmark_scores"]}]
    launched = dagster_server.ask(LAUNCH, keys=keys, names=[SIZE])["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    until = time.monotonic() + BACKFILL_SECONDS
    while True:
        found = dagster_server.ask(STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
        if found["status"] not in ("REQUESTED", "IN_PROGRESS"):
            break
        assert time.monotonic() < until, found
        time.sleep(2)
    assert found["status"] == "COMPLETED_SUCCESS", found
    [run] = found["runs"]
    assert {"key": "dagster/partition", "value": SIZE} in run["tags"]
    after = finished.written()
    changed = {name for name in after if before.get(name) != after[name]}
    assert f"refs/skywork_reward_v2/{SIZE}.json" in changed
    assert {name for name in changed if SIZE not in name} == set()
    assert before.keys() <= after.keys()


@pytest.mark.servers
@pytest.mark.timeout(1800)
def test_the_page_shows_the_groups_in_the_order_of_the_figure(
    dagster_server, page, page_text, tmp_path
):
    groups = ["1_pool", "2_attributes", "3_seed", "4_iteration_00", "4_labelled", "5_filtering"]
    text = page_text(f"{dagster_server.url}/asset-groups/", "1_pool")
    places = [text.index(group) for group in groups if group in text]
    assert len(places) == len(groups), text[:2000]
    target = Path(os.environ.get("SYNPREF_SCREENSHOT", tmp_path / "graph.png"))
    page.screenshot(path=str(target))
    assert target.stat().st_size > 20_000
