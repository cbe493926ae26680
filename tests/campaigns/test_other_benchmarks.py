"""The benchmarks of a campaign change: only new ones are looked for, and old results come back."""

import json

import dagster as dg
import pytest

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import from_json, read_frame

ASSETS = ("raw_pool", "benchmark_prompts", "clean_pool")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The pool cleaned with the world's benchmarks, with one more, and without it again."""
    base = tmp_path_factory.mktemp("benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNPREF_STORE", str(base / "store"))
        patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{base / 'mlflow.db'}")
        before = clean(load_profile("smoke"), base)
        prompt = read_frame(before["raw"])["conversation"].iloc[7][0]["content"]
        suite = base / "own.jsonl"
        suite.write_text(json.dumps({"prompt": prompt, "chosen": "a", "rejected": "b"}))
        more = clean(with_suite(load_profile("smoke"), suite), base)
        return before, more, clean(load_profile("smoke"), base)


def with_suite(profile, path):
    pool = profile.pool.model_copy(update={"custom_benchmarks": {"our_suite": str(path)}})
    return profile.model_copy(update={"pool": pool})


def clean(profile, base):
    result = (
        build_defs(profile)
        .resolve_job_def("curate_pool")
        .execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[dg.AssetKey(name) for name in ASSETS],
        )
    )
    refs = base / "store" / "smoke" / "seed-0" / "refs"
    [check] = [
        each
        for each in result.get_asset_check_evaluations()
        if each.check_name == "zero_contamination"
    ]
    [told] = [
        event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("clean_pool")
    ]
    return {
        "raw": from_json((refs / "raw_pool.json").read_text()).kept,
        "pool": from_json((refs / "clean_pool.json").read_text()),
        "check": check,
        "first_look": counts(told),
        "second_look": counts(check.metadata),
    }


def counts(metadata):
    by_benchmark = metadata["shards_looked_at_by_benchmark"].value
    return metadata["num_shards_computed"].value, by_benchmark


@pytest.mark.parametrize("look", ["first_look", "second_look"])
def test_only_a_new_benchmark_is_looked_for(runs, look):
    before, more, _ = runs
    num_shards, by_benchmark = before[look]
    assert num_shards > 1
    assert set(by_benchmark.values()) == {num_shards}
    assert more[look] == (
        num_shards, {**dict.fromkeys(by_benchmark, 0), "our_suite": num_shards},
    )  # fmt: skip


@pytest.mark.parametrize("look", ["first_look", "second_look"])
def test_nothing_is_read_when_a_benchmark_goes(runs, look):
    before, _, again = runs
    assert again[look] == (0, dict.fromkeys(before[look][1], 0))


def test_a_new_benchmark_takes_its_pairs_and_gives_them_back(runs):
    before, more, again = runs
    dropped = read_frame(more["pool"].dropped)
    taken = dropped[dropped["benchmark"] == "our_suite"]
    assert len(taken) == before["pool"].kept.num_rows - more["pool"].kept.num_rows > 0
    assert again["pool"] == before["pool"]
    assert all(run["check"].passed for run in runs)
