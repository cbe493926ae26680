"""A whole campaign whose judges answer in batches: nobody waits, the sensor continues it.

Two judges answer in batches, one at once. Every look at the campaign opens Dagster anew, as a
daemon that was restarted would.
"""

import dagster as dg
import pytest
from endpoint_profile import JOBS, small_profile
from fake_batch_server import batch_server
from reading_judge import answer

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.definitions.failures import waits_for
from synpref_dagster.definitions.jobs import RUNNING
from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.settings.profile import Profile

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

MAX_ROUNDS = 20


class BatchedCampaign:
    """The campaign, its Dagster and its sensor."""

    def __init__(self, base, server):
        self.server = server
        self.home = base / "dagster"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        plain = small_profile(server.url)
        careful, *others = plain.judges.endpoints
        batched = [each.model_copy(update={"batch": True}) for each in others]
        judges = plain.judges.model_copy(update={"endpoints": (careful, *batched)})
        self.profile: Profile = plain.model_copy(update={"judges": judges})
        self.cursor = None
        self.run_keys = set()

    def run(self, job, selection=None):
        """Run a job, or a part of it, to its end; Dagster is started for it and ends with it."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            result = (
                build_defs(self.profile)
                .resolve_job_def(job)
                .execute_in_process(
                    instance=instance, asset_selection=selection, raise_on_error=False
                )
            )
            # A batch under way holds no worker: whatever became of the run, it has ended.
            assert not instance.get_runs(dg.RunsFilter(statuses=RUNNING))
        failed = [event for event in result.all_events if event.is_step_failure]
        assert all(waits_for(event) for event in failed), failed
        return result

    def tick(self):
        """One tick of the sensor: requests with a new key, why there are none, or nothing new."""
        defs = build_defs(self.profile)
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            repository = defs.get_repository_def()
            context = dg.build_sensor_context(
                instance=instance, cursor=self.cursor, repository_def=repository
            )
            found = repository.get_sensor_def("judge_batches").evaluate_tick(context)
        self.cursor = found.cursor
        new = [each for each in found.run_requests if each.run_key not in self.run_keys]
        self.run_keys |= {each.run_key for each in new}
        return new or found.skip_message


@pytest.fixture
def batched(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with batch_server(answer) as server:
        yield BatchedCampaign(tmp_path, server)


def test_a_tick_starts_what_waited_once_also_after_a_batch_that_expired(batched):
    server = batched.server
    keys = ["raw_pool", "benchmark_prompts", "clean_pool", "strict_overlaps"]
    keys += ["wild_pool", "unverified_pool"]
    selection = [dg.AssetKey(key) for key in [*keys, "attribute_labels"]]
    assert not batched.run("curate_pool", selection).success
    first = server.under_way()
    for name in first:
        server.finish(name, status="expired", num_answered=10)
    [request] = batched.tick()
    assert dg.AssetKey("attribute_labels") in request.asset_selection
    assert dg.AssetKey("judge_audit") in request.asset_selection
    assert dg.AssetKey("clean_pool") not in request.asset_selection
    assert batched.tick() is None  # the same batches ask for the same run, by the same key
    assert not batched.run("curate_pool", [dg.AssetKey("attribute_labels")]).success
    again = server.under_way()
    assert sum(len(server.batches[name].lines) for name in again) == sum(
        max(len(server.batches[name].lines) - 10, 0) for name in first
    )
    for name in again:
        server.finish(name)
    [request] = batched.tick()
    assert batched.run("curate_pool", [dg.AssetKey("attribute_labels")]).success
    assert "0 replies" in batched.tick()


@pytest.mark.slow
def test_a_campaign_in_batches_is_continued_by_the_sensor_to_its_end(batched):
    server = batched.server
    result = batched.run("curate_pool")
    waited, num_rounds = set(), 0
    while not result.success and num_rounds < MAX_ROUNDS:
        num_rounds += 1
        steps = {event.step_key for event in result.all_events if event.is_step_failure}
        waited |= steps
        under_way = server.under_way()
        assert "under way" in batched.tick()
        assert server.under_way() == under_way  # looking sends nothing
        # Both judges sent all they owe before a step ended, not one after the other.
        assert {server.model(name) for name in under_way} == {"checks", "exemplars"}
        for name in under_way[:-1]:
            server.finish(name)
        found = batched.tick()  # somebody is still at work: at least his asset has to wait
        early = [] if isinstance(found, str) else found
        server.finish(under_way[-1])
        requests = [*early, *batched.tick()]
        selection = {key for request in requests for key in request.asset_selection}
        assert {request.job_name for request in requests} == {"curate_pool"}
        assert {dg.AssetKey(step.split("__")) for step in steps} <= selection
        result = batched.run("curate_pool", sorted(selection))
    assert result.success
    assert waited == {
        "pii_report",
        "attribute_labels",
        "silver_seed",
        "iteration_01__judge_votes",
        "flip_evidence",
        "relabelled_pairs",
        "judge_audit",
    }
    assert batched.run(JOBS[1]).success
    assert "0 replies" in batched.tick()
    bill = ReplyCache(batched.profile.judges.cache_path()).spent("smoke-seed-0")
    usd = bill.groupby("judge")["usd"].sum()
    # The same questions at half the price.
    assert usd["checks"] == pytest.approx(usd["careful"] / 2)
    sent = [line for batch in server.batches.values() for line in batch.lines]
    assert len(sent) == len(set(sent))
