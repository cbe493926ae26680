"""Which benchmarks a campaign has: the world's seven, published files, plug-ins, one's own."""

import json

import pytest

from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.profile import load_profile

ROW = {"prompt": "Name a fruit.", "chosen": "Apple.", "rejected": "Stone."}


def sources(tmp_path, profile="smoke", **pool):
    base = load_profile(profile)
    changed = base.model_copy(update={"pool": base.pool.model_copy(update=pool)})
    campaign = Campaign(profile_json=changed.model_dump_json(), store_root=str(tmp_path / "store"))
    return PoolSources(campaign=campaign)


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    return file


def test_a_suite_of_ones_own_is_one_entry_and_is_decontaminated_against(tmp_path, mine):
    plain = sources(tmp_path)
    own = sources(tmp_path, custom_benchmarks={"my_suite": str(mine)})
    assert list(own.benchmark_items()) == [*plain.benchmark_items(), "my_suite"]
    assert "Name a fruit." in set(own.benchmark_prompts()["prompt"])
    fingerprint = own.benchmark_fingerprint()
    assert plain.benchmark_fingerprint() != fingerprint
    mine.write_text(json.dumps(ROW | {"chosen": "Pear."}) + "\n", encoding="utf-8")
    assert own.benchmark_fingerprint() != fingerprint


def test_published_files_beside_the_world_change_what_the_benchmarks_depend_on(tmp_path):
    file = tmp_path / "published.jsonl"
    file.write_text("one\n", encoding="utf-8")
    plain = sources(tmp_path).benchmark_fingerprint()
    first = sources(tmp_path, benchmarks={"judge_bench": str(file)}).benchmark_fingerprint()
    file.write_text("two\n", encoding="utf-8")
    second = sources(tmp_path, benchmarks={"judge_bench": str(file)}).benchmark_fingerprint()
    assert len({plain, first, second}) == 3


def test_counts_are_expected_of_published_sets_and_of_the_parts_at_hand(tmp_path, mine):
    own = sources(tmp_path, custom_benchmarks={"my_suite": str(mine)})
    assert [own.expected_counts(benchmark) for benchmark, _ in own.benchmarks()] == [
        *[None] * 7,
        {"all": 1},
    ]
    rm_bench = next(each for each, _ in own.benchmarks() if each.name == "rm_bench")
    real = sources(
        tmp_path,
        "real",
        benchmarks={"rm_bench": "x"},
        benchmark_subsets={"rm_bench": ("chat", "safety-response")},
    )
    assert real.expected_counts(rm_bench) == {"chat": 129, "safety-response": 157}
