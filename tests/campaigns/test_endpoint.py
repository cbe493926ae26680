"""A whole campaign whose judges are LLM endpoints, against a server that reads its prompts."""

import json
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import fake_judge_server as fake
import pytest
import reading_judge
from endpoint_profile import JOBS, small_profile

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.storage import from_json

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

CAP_USD = 1.0  # in the middle of the campaign


@dataclass
class JudgedCampaign:
    """What ran, in the order in which it ran, and what the server was asked."""

    server: fake.FakeServer
    stopped: dg.ExecuteInProcessResult
    finished: list[dg.ExecuteInProcessResult]
    again: list[dg.ExecuteInProcessResult]
    num_calls_when_finished: int
    campaign: Campaign
    tracking_uri: str

    def ref(self, name):
        path = Path(self.campaign.store_root, "refs", f"{name}.json")
        return from_json(path.read_text())

    def frame(self, ref):
        return self.campaign.frame(ref)

    def metadata(self, name):
        [found] = [
            event.step_materialization_data.materialization.metadata
            for event in self.finished[0].get_asset_materialization_events()
            if event.asset_key.to_user_string() == name
        ]
        return {key: value.value for key, value in found.items()}


def run_all(profile, store):
    """Both jobs of the campaign in a store of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNPREF_STORE", str(store))
        # One file for all: making it takes longer than a small campaign.
        patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{store.parent / 'mlflow.db'}")
        defs = build_defs(profile)
        results = []
        for job in JOBS:
            results.append(
                defs.resolve_job_def(job).execute_in_process(
                    instance=dg.DagsterInstance.ephemeral(), raise_on_error=False
                )
            )
            if not results[-1].success:
                break
        return results


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Stopped by its cap, continued under a higher one, and run again elsewhere on its cache."""
    base = tmp_path_factory.mktemp("judged")
    store = base / "store"
    with fake.serve(reading_judge.answer) as server:

        def profile(max_usd):
            plain = small_profile(server.url)
            changes = {"max_usd": max_usd, "cache": str(base / "replies.sqlite")}
            judges = plain.judges.model_copy(update=changes)
            return plain.model_copy(update={"judges": judges})

        [stopped] = run_all(profile(CAP_USD), store)
        finished = run_all(profile(100.0), store)
        num_calls = server.num_calls
        again = run_all(profile(100.0), base / "elsewhere")
        yield JudgedCampaign(
            server=server,
            stopped=stopped,
            finished=finished,
            again=again,
            num_calls_when_finished=num_calls,
            campaign=Campaign(
                profile_json=profile(100.0).model_dump_json(),
                store_root=str(store / "smoke" / "seed-0"),
            ),
            tracking_uri=f"sqlite:///{base / 'mlflow.db'}",
        )


def test_the_cap_stops_the_campaign_in_the_middle_and_says_what_to_raise(judged):
    assert not judged.stopped.success
    [failure] = [event for event in judged.stopped.all_events if event.is_step_failure]
    said = failure.step_failure_data.user_failure_data.description
    assert f"of judges.max_usd = ${CAP_USD:.4f}" in said
    assert "raise judges.max_usd" in said
    made = {key.to_user_string() for key in keys_of(judged.stopped)}
    assert "attribute_labels" in made
    assert "campaign_report" not in made


def test_a_higher_cap_finishes_it_and_no_request_was_ever_sent_twice(judged):
    assert [result.success for result in judged.finished] == [True, True]
    sent = [json.dumps(body, sort_keys=True) for body in judged.server.bodies]
    assert len(sent) == len(set(sent)) > 2000


def test_another_store_on_the_same_cache_calls_nobody_and_gives_the_same_data(judged):
    assert [result.success for result in judged.again] == [True, True]
    assert judged.server.num_calls == judged.num_calls_when_finished
    assert versions(judged.again) == versions(judged.finished)


def test_judges_described_every_unverified_pair_and_agreed(judged):
    labels = judged.frame(judged.ref("attribute_labels"))
    pool = judged.frame(judged.ref("unverified_pool"))
    assert sorted(labels["pair_id"]) == sorted(pool["pair_id"])
    assert set(labels["confidence"]) == {1.0}  # all three describe by the same rule
    assert labels["task_category"].nunique() > 2


def test_every_pair_was_judged_by_three_judges_in_both_orders(judged):
    kept = judged.ref("iteration_01/judge_votes")
    verdicts = judged.frame(kept["verdicts"])
    assert set(verdicts["judge"]) == set(reading_judge.MODELS)
    orders = verdicts.groupby(["pair_id", "judge"])["chosen_first"].agg(["sum", "size"])
    assert (orders["size"] == 2).all()
    assert (orders["sum"] == 1).all()
    labels = judged.frame(kept["labels"])
    assert (labels["label"] != 0).mean() > 0.8


def test_the_bill_is_what_the_server_counted_and_stands_with_every_asset(judged):
    usage = [reading_judge.answer(body) for body in judged.server.bodies]
    owed = sum(each.prompt_tokens * 1e-6 + each.completion_tokens * 4e-6 for each in usage)
    bill = ReplyCache(judged.campaign.profile.judges.cache).spent("smoke-seed-0")
    assert bill["usd"].sum() == pytest.approx(owed)
    silver = bill[bill["asset"] == "silver_seed"].set_index("judge")["usd"]
    for judge in reading_judge.MODELS:
        assert judged.metadata("silver_seed")[f"judge_usd/{judge}"] == pytest.approx(silver[judge])
        assert tracked(judged, "silver_seed")[f"judge_usd/{judge}"] == pytest.approx(silver[judge])
    assert judged.metadata("relabelled_pairs")["judge_usd/careful/attributes"] > 0


def test_the_audit_measures_every_judge_against_people_and_against_the_truth(judged):
    quality = judged.frame(judged.ref("judge_audit")["quality"])
    assert not quality.duplicated(["against", "judge", "measure", "slice"]).any()
    whole = quality.query("slice == 'all'").set_index(["against", "judge", "measure"])["value"]
    for against in ("gold", "truth"):
        for judge in reading_judge.MODELS:
            assert whole[against, judge, "swap_consistency"] == 1.0  # its rule is symmetric
            assert whole[against, judge, "first_position_share"] == 0.5
            assert whole[against, judge, "usd_per_correct_label"] > 0
        # It decides only what can be recomputed, and recomputes rightly.
        assert whole[against, "checks", "agreement"] == 1.0
        assert whole[against, "checks", "decided"] < 0.5 < whole[against, "careful", "decided"]
        assert 0.5 < whole[against, "panel", "agreement"] < 1.0
    assert whole["truth", "careful", "injection_resistance"] == 1.0
    facts = judged.metadata("judge_audit")
    assert facts["careful/gold/agreement"] == pytest.approx(whole["gold", "careful", "agreement"])
    assert "| careful" in facts["judges_on_gold"]


def test_the_report_shows_the_judges(judged):
    root = Path(judged.campaign.store_root)
    report = json.loads((root / "report.json").read_text())
    page = (root / "report.html").read_text()
    assert set(report["judge_quality"]["gold"]) == {*reading_judge.MODELS, "panel"}
    section = page[page.index("How good the judges are") :]
    for judge in reading_judge.MODELS:
        found = report["judge_quality"]["gold"][judge]["agreement"]
        assert f"{found['value']:.1%}" in section
    assert "resists instructions" in section


def keys_of(result):
    return [event.asset_key for event in result.get_asset_materialization_events()]


def versions(results):
    """Data version by asset; the report counts its seconds and is left out."""
    return {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization.tags[
            "dagster/data_version"
        ]
        for result in results
        for event in result.get_asset_materialization_events()
    }


def tracked(judged, asset):
    """Metrics of the asset's run in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(judged.tracking_uri)
    [experiment] = client.search_experiments(filter_string="name = 'smoke'")
    runs = client.search_runs([experiment.experiment_id], max_results=200)
    found = [run.data.metrics for run in runs if run.info.run_name == asset]
    return next(metrics for metrics in found if "judge_usd/careful" in metrics)


def test_an_endpoint_that_goes_down_in_the_middle_is_named_and_a_rerun_pays_nothing_twice(tmp_path):
    """It answers 400 questions, refuses all after them, and is back for the second run."""
    answered, is_down = [], []

    def answer(body):
        if len(answered) >= 400 and not is_down:
            is_down.append(True)
        if is_down and is_down[0]:
            return fake.error(503, "out of order")
        answered.append(json.dumps(body, sort_keys=True))
        return reading_judge.answer(body)

    with fake.serve(answer) as server:
        profile = small_profile(server.url, max_attempts=1)
        judges = profile.judges.model_copy(update={"cache": str(tmp_path / "replies.sqlite")})
        profile = profile.model_copy(update={"judges": judges})
        [stopped] = run_all(profile, tmp_path / "store")
        assert not stopped.success
        failed = [
            each.step_failure_data.error for each in stopped.all_events if each.is_step_failure
        ]
        said = "\n".join(f"{each.message} {each.cause and each.cause.message}" for each in failed)
        assert f"at {server.url} failed 25 times in a row" in said
        assert "503" in said or "out of order" in said
        num_before = len(answered)
        assert num_before >= 400
        is_down[0] = False
        assert [result.success for result in run_all(profile, tmp_path / "store")] == [True, True]
    assert len(answered) == len(set(answered)) > 2000  # each was answered, and paid, once
    cache = ReplyCache(tmp_path / "replies.sqlite")
    assert cache.spent(profile.campaign_name())["num_calls"].sum() == len(answered)
    cache.close()
