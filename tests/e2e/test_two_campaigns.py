"""A real `dagster dev` with two code locations: profiles that change, and keys that are apart.

Only the first asset of each campaign is made. What the locations were loaded with stays in their
processes, while runs are processes of their own: no test in one process shows both.
"""

import time
from importlib.resources import files

import dagster as dg
import pytest

from synpref_dagster.resources.campaign import PROFILE_TAG

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1200)]

RUN_SECONDS = 300
SUBSET = "consistency_filtered_subset"
LAUNCH = """
mutation ($location: String!, $job: String!, $selection: [AssetKeyInput!]) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: $location, repositoryName: "__repository__",
               pipelineName: $job, assetSelection: $selection},
    mode: "default", runConfigData: {}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on InvalidSubsetError { message } } }
"""
TICK = """
mutation ($location: String!) { scheduleDryRun(
  selectorData: {repositoryLocationName: $location, repositoryName: "__repository__",
                 scheduleName: "nightly_filtering"}, timestamp: 1750000000
) { __typename ... on DryRunInstigationTick { evaluationResult {
  skipReason runRequests { tags { key value } } error { message } } }
  ... on PythonError { message } } }
"""
RELOAD = """
mutation ($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) { __typename } }
"""


class Locations:
    """Two profiles on one instance, each with a code location named like its prefix."""

    def __init__(self, place, server, instance):
        self.place, self.server, self.instance = place, server, instance

    def change(self, name, old, new):
        path = self.place.base / f"{name}.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def materialize(self, location, asset="raw_pool", job="__ASSET_JOB"):
        """A run as the button in the UI starts it, when it is over; and why it failed."""
        selection = [{"path": [location, asset]}] if asset else None
        asked = {"location": location, "job": job, "selection": selection}
        answer = self.server.ask(LAUNCH, **asked)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        until = time.monotonic() + RUN_SECONDS
        while not (run := self.instance.get_run_by_id(answer["run"]["runId"])).is_finished:
            assert time.monotonic() < until
            time.sleep(0.5)
        events = [each.dagster_event for each in self.instance.all_logs(run.run_id)]
        failed = [each for each in events if each and each.is_step_failure]
        told = failed[0].step_failure_data.user_failure_data if failed else None
        return run, told and told.description

    def tick(self, location):
        """What tonight's tick says: the tags of its run, or why there is none."""
        answer = self.server.ask(TICK, location=location)["scheduleDryRun"]
        found = answer["evaluationResult"]
        assert found["error"] is None, found
        return found["runRequests"], found["skipReason"]


@pytest.fixture(scope="module")
def locations(workplace, serve_dagster):
    place = workplace("smoke", SYNPREF_PROFILE="taken from the files of the code locations")
    smoke = (files("synpref_dagster.settings") / "profiles" / "smoke.toml").read_text()
    workspace = ["load_from:"]
    for name in ("first", "second"):
        own = smoke.replace('name = "smoke"', f'name = "{name}"\nkey_prefix = "{name}"')
        own = own.replace("[filtering]\n", "[filtering]\nguard_floor = 0.6\n")
        (place.base / f"{name}.toml").write_text(own)
        code = place.base / f"{name}.py"
        code.write_text(
            "from synpref_dagster.definitions.build import build_defs\n\n"
            f"defs = build_defs({str(place.base / f'{name}.toml')!r})\n"
        )
        workspace.append(
            f"  - python_file: {{relative_path: {str(code)!r}, location_name: {name}}}"
        )
    (place.base / "workspace.yaml").write_text("\n".join(workspace))
    path = str(place.base / "workspace.yaml")
    with (
        serve_dagster(place.base, place.environment, path) as server,
        dg.DagsterInstance.from_config(str(place.base / "home")) as instance,
    ):
        yield Locations(place, server, instance)


def test_two_campaigns_with_prefixes_have_histories_of_their_own(locations):
    for name in ("first", "second"):
        assert locations.materialize(name)[1] is None
    keys = {key.to_user_string() for key in locations.instance.all_asset_keys()}
    assert keys == {"first/raw_pool", "second/raw_pool"}
    for name in ("first", "second"):
        refs = locations.place.base / "store" / name / "seed-0" / "refs"
        assert [path.name for path in refs.iterdir()] == ["raw_pool.json"]
        _, skipped = locations.tick(name)
        assert f"({name}/{SUBSET} was never materialized)" in skipped


def test_the_page_of_an_asset_shows_the_history_of_its_own_campaign(locations, page_text):
    for name in ("first", "second"):
        assert locations.materialize(name)[1] is None
    for name, other in (("first", "second"), ("second", "first")):
        url = f"{locations.server.url}/assets/{name}/raw_pool"
        assert f"store/{other}/" not in page_text(url, f"store/{name}/seed-0")


def test_a_run_from_the_pages_obeys_the_file_as_it_is_and_says_so(locations):
    before, _ = locations.materialize("first")
    locations.change("first", "guard_floor = 0.6", "guard_floor = 0.7")
    after, failure = locations.materialize("first")
    assert failure is None
    assert before.tags[PROFILE_TAG] != after.tags[PROFILE_TAG]


def test_other_assets_than_the_location_knows_ask_for_a_reload(locations):
    locations.change("second", "num_iterations = 1", "num_iterations = 2")
    skipped = locations.tick("second")[1]
    assert "gives other assets, jobs or sensors than when its code location was loaded" in skipped
    assert "reload the code location" in skipped
    _, failure = locations.materialize("second", asset=None, job="curate_pool")
    assert "gives other assets than when this run was planned: reload the code loc" in failure
    answer = locations.server.ask(RELOAD, location="second")["reloadRepositoryLocation"]
    assert answer["__typename"] == "WorkspaceLocationEntry"
    assert "was never materialized" in locations.tick("second")[1]
    locations.change("second", "num_iterations = 2", "num_iterations = oops")
    assert "cannot be read as it is now" in locations.tick("second")[1]
    locations.change("second", "num_iterations = oops", "num_iterations = 2")
    assert locations.materialize("second")[1] is None
