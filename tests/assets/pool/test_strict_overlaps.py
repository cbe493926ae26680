"""The strict pass in a campaign: who is barred from stage 1, what it costs, what turns it off."""

import json

import dagster as dg
import fake_judge_server as fake
import pandas as pd
import pytest
from endpoint_profile import small_profile

from synpref_dagster.assets.pool.strict_overlaps import barred_from_gold, zero_strict_overlap
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.pairs.record import first_user_turn, is_among
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.pool import StrictPassSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import from_json, read_frame, read_manifest

POOL = ("raw_pool", "benchmark_prompts", "clean_pool", "strict_overlaps")
WORDS = 9  # bars a tenth of the stage-1 pairs of the smoke world, whose prompts share templates


class Place:
    """A store in which the pool of a profile is made with different settings."""

    def __init__(self, base):
        self.base = base
        self.root = base / "store" / "smoke" / "seed-0"

    def run(self, *assets, profile=None, suite=None, **strict):
        plain = profile or load_profile("smoke")
        words = {"min_words": WORDS} if strict.get("enabled", True) else {}
        changed = {"strict_pass": StrictPassSettings(**words | strict)}
        if suite is not None:
            changed["custom_benchmarks"] = {"our_suite": str(suite)}
        profile = plain.model_copy(update={"pool": plain.pool.model_copy(update=changed)})
        self.campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(self.root))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNPREF_STORE", str(self.base / "store"))
            patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{self.base / 'mlflow.db'}")
            return (
                build_defs(profile)
                .resolve_job_def("curate_pool")
                .execute_in_process(
                    instance=dg.DagsterInstance.ephemeral(),
                    asset_selection=[dg.AssetKey(name) for name in assets or POOL],
                    raise_on_error=False,
                )
            )

    def ref(self, name):
        return from_json((self.root / "refs" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("strict"))


@pytest.fixture(scope="module")
def first(place):
    """The pool after its first night: what was found, and what the asset told."""
    result = place.run()
    assert result.success
    return result, place.ref("strict_overlaps"), place.ref("clean_pool").kept


def told(result):
    [found] = [
        event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("strict_overlaps")
    ]
    return {name: value.value for name, value in found.items()}


def check(result):
    [found] = [
        each for each in result.get_asset_check_evaluations()
        if each.check_name == "candidates_left"
    ]  # fmt: skip
    return found


def test_barred_are_the_candidates_that_share_words_and_no_other_pair(place, first):
    result, overlaps, clean = first
    told_now, frame, pool = told(result), read_frame(overlaps), read_frame(clean)
    barred = read_frame(barred_from_gold(place.campaign, overlaps))["pair_id"]
    candidates = pool[(pool["origin"] == "human") | pool["risky"]]
    assert told_now["num_looked_at"] == len(candidates)
    assert set(barred) == set(frame["pair_id"]) <= set(candidates["pair_id"])
    assert barred.is_unique
    assert told_now["num_barred_from_gold"] == told_now["num_with_overlap"] == len(barred) > 0
    assert sum(told_now["barred_by_benchmark"].values()) >= len(barred)
    assert (frame["gram"].str.split().str.len() >= WORDS).all()
    assert told_now["compared"] == "9 to 13 words, all turns and both responses"
    assert check(result).passed


def test_overlaps_lie_beside_the_clean_shards(place, first):
    _, overlaps, clean = first
    barred = barred_from_gold(place.campaign, overlaps)
    pool = iter(read_frame(clean)["pair_id"])
    for shard, of_clean in zip(
        read_manifest(barred).shards, read_manifest(clean).shards, strict=True
    ):
        here = [next(pool) for _ in range(of_clean.num_rows)]
        path = f"{barred.uri}/shards/{shard.name}"
        ids = pd.read_parquet(path)["pair_id"]
        assert is_among(pd.Series([getattr(i, "bytes", i) for i in ids], dtype=object), here).all()


def test_stage_one_with_a_barred_pair_in_it_is_found(place, first):
    _, overlaps, clean = first
    look = zero_strict_overlap.node_def.compute_fn.decorated_fn
    found = look(place.campaign, clean, overlaps)
    assert not found.passed
    num_barred = found.metadata["num_barred"].value
    assert found.description.startswith(f"{num_barred} of {clean.num_rows:,} pairs of stage 1")
    barred = set(read_frame(barred_from_gold(place.campaign, overlaps))["pair_id"])
    parts, start, pool = [], 0, read_frame(clean)
    for shard in read_manifest(clean).shards:
        part = pool.iloc[start : start + shard.num_rows]
        parts.append(part[~is_among(part["pair_id"], barred)].reset_index(drop=True))
        start += shard.num_rows
    free = place.campaign.dataset("free", lambda: parts, version="1", inputs=[])
    assert look(place.campaign, free, overlaps).passed


def test_a_new_benchmark_is_the_only_one_looked_for_and_goes_without_a_look(place, first):
    result, overlaps, clean = first
    before = told(result)
    num_shards = before["num_shards_computed"]
    [pair] = place.campaign.pairs(clean, [read_frame(clean)["pair_id"].iloc[0]])
    suite = place.base / "own.jsonl"
    prompt = f"{first_user_turn(pair.conversation)} {'and so on ' * WORDS}"
    suite.write_text(json.dumps({"prompt": prompt, "chosen": "a", "rejected": "b"}))
    more = told(place.run(suite=suite))
    known = dict.fromkeys(before["shards_looked_at_by_benchmark"], 0)
    assert more["shards_looked_at_by_benchmark"] == {**known, "our_suite": num_shards}
    again = told(place.run())
    assert again["shards_looked_at_by_benchmark"] == known
    assert (again["num_shards_computed"], again["num_shards_reused"]) == (0, num_shards)
    assert (before["num_risky_parts_computed"] > 0, again["num_risky_parts_computed"]) == (True, 0)
    assert place.ref("strict_overlaps") == overlaps


def test_a_pass_that_is_off_finds_nothing_and_says_so(place, first):
    _, overlaps, clean = first
    result = place.run(enabled=False)
    assert told(result)["compared"] == "nothing: pool.strict_pass.enabled is false"
    assert told(result)["num_looked_at"] == told(result)["num_barred_from_gold"] == 0
    empty = place.ref("strict_overlaps")
    assert empty.num_rows == 0
    assert len(read_manifest(empty).shards) == len(read_manifest(clean).shards)
    assert barred_from_gold(place.campaign, empty).num_rows == 0
    place.run()
    assert place.ref("strict_overlaps") == overlaps


def test_a_pass_that_bars_most_candidates_warns_and_says_what_to_do(place, first):
    result = place.run(min_words=4)
    found = check(result)
    assert result.success
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "raise pool.strict_pass.min_words from 4" in found.description


def test_clearing_without_judges_is_refused_with_what_to_set(place, first):
    result = place.run(judges_clear=True)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "judges.kind is 'exemplar'" in str(failure.step_failure_data.error)


@pytest.mark.servers
@pytest.mark.parametrize("decision", ["coincidence", "same_item"])
def test_judges_clear_coincidences_and_nothing_else(tmp_path, decision):
    place = Place(tmp_path)
    reply = json.dumps({"reason": "as asked", "decision": decision})
    with fake.serve(lambda _: reply) as server:
        profile = small_profile(server.url)
        result = place.run(profile=profile, judges_clear=True)
        num_calls = server.num_calls
        again = place.run(profile=profile, judges_clear=True)
        assert server.num_calls == num_calls > 0
    assert result.success
    found = told(result)
    assert found["num_with_overlap"] > 0
    cleared = found["num_with_overlap"] if decision == "coincidence" else 0
    assert found["num_cleared_by_judges"] == cleared
    assert found["num_barred_from_gold"] == found["num_with_overlap"] - cleared
    assert found["judge_usd/careful"] > 0
    assert told(again)["num_cleared_by_judges"] == cleared
    overlaps = place.ref("strict_overlaps")
    assert set(read_frame(overlaps)["cleared"]) == {decision == "coincidence"}
    assert place.campaign.facts(overlaps)["review"]["num_rows"] >= found["num_with_overlap"]
