"""What a release was trained on is told by what was kept with it, and by nothing else."""

from types import SimpleNamespace

import pandas as pd
import pytest

from synpref_dagster.assets.release import trained_on
from synpref_dagster.assets.release.data import source_rows
from synpref_dagster.assets.release.trained_on import (
    SUBSET,
    counted_rows,
    facts_of,
    kept_with,
    release_settings,
    sources_now,
    subset_of,
)
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.storage import ModelRef

MODEL = ModelRef("/models/a", "f0")


@pytest.fixture
def campaign(tmp_path):
    profile = load_profile("smoke")
    return Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))


@pytest.fixture
def step(campaign):
    def dataset(compute, *, inputs, part):
        texts = [each if isinstance(each, str) else each.fingerprint for each in inputs]
        return campaign.dataset(f"skywork_reward_v2/{part}", compute, version="1", inputs=texts)

    return SimpleNamespace(
        campaign=campaign, dataset=dataset, context=SimpleNamespace(partition_key="qwen3-0.6b")
    )


def pair(source, number):
    return PreferencePair(
        conversation=({"role": "user", "content": f"{number}"},),
        chosen="a",
        rejected="b",
        source=source,
        origin="human",
    )


def specs(**licences):
    found = [
        SourceSpec(name=name, path=f"/data/{name}.jsonl", origin="human", licence=licence)
        for name, licence in licences.items()
    ]
    profile = SimpleNamespace(pool=SimpleNamespace(staying=list))
    return SimpleNamespace(
        is_synthetic=False, specs=lambda: found, campaign=SimpleNamespace(profile=profile)
    )


ROWS = counted_rows(
    [(pair("crowd", 1), "gold"), (pair("web", 2), "curated"), (pair("web", 3), "curated")],
    [pair("crowd", 4)],
)


def test_pairs_are_counted_by_split_tier_and_source():
    assert ROWS.to_numpy().tolist() == [
        ["train", "curated", "web", 2],
        ["train", "gold", "crowd", 1],
        ["validation", "gold", "crowd", 1],
    ]


def test_pairs_of_a_source_that_is_no_longer_named_are_refused_and_not_forgotten():
    found = source_rows(specs(crowd="mit", web="mit"), ROWS)
    assert {each["name"]: each["num_train"] for each in found} == {"crowd": 1, "web": 2}
    with pytest.raises(ValueError, match="pairs of web, which pool"):
        source_rows(specs(crowd="mit"), ROWS)


def test_the_facts_of_a_model_are_those_that_were_kept_with_it(campaign, step):
    told = {"settings": release_settings(campaign), "inputs": {SUBSET: "s1"}, "sources": []}
    later = {**told, "inputs": {SUBSET: "s2"}}
    model, newer = (kept_with(step, MODEL, each) for each in (told, later))
    assert model.fingerprint == newer.fingerprint == MODEL.fingerprint
    assert facts_of(campaign, model) == told  # also after the newer ones were written
    assert (subset_of(campaign, model), subset_of(campaign, newer)) == ("s1", "s2")
    assert subset_of(campaign, MODEL) == ""


def test_a_model_of_an_earlier_version_or_of_other_settings_is_refused(campaign, step, monkeypatch):
    with pytest.raises(ValueError, match="nothing is known of what /models/a was trained on"):
        facts_of(campaign, MODEL)
    model = kept_with(step, MODEL, {"settings": "others", "inputs": {SUBSET: "s1"}})
    with pytest.raises(ValueError, match=r"\[release\] in the profile changed since /models/a"):
        facts_of(campaign, model)
    monkeypatch.setattr(trained_on, "release_settings", lambda _: "others")
    assert facts_of(campaign, model)["inputs"] == {SUBSET: "s1"}


def test_a_licence_that_was_corrected_since_counts_and_a_source_that_left_keeps_its_own():
    facts = {"sources": source_rows(specs(crowd="mit", web="mit"), ROWS)}
    now = pd.DataFrame(sources_now(specs(crowd="proprietary"), facts)).set_index("name")
    assert now["licence"].to_dict() == {"crowd": "proprietary", "web": "mit"}
    assert now["num_train"].to_dict() == {"crowd": 1, "web": 2}
