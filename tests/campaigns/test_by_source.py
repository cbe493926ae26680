"""The table of sources agrees with what can be counted without it; weak models stop a campaign."""

import json
import shutil
from collections import Counter
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from synpref_dagster.assets.by_source import told_by_source
from synpref_dagster.assets.filtering.decision import all_decisions
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.stages import FilterSettings
from synpref_dagster.storage import from_json
from synpref_dagster.storage.sealed import unsealed
from synpref_dagster.synthetic.sealed import sealed_signs

PROFILE = """
name = "mix"
[pool]
kind = "sources"
sources = [
  {{ name = "hh", path = {hh}, origin = "human", licence = "MIT" }},
  {{ name = "lm", path = {lm}, origin = "human", licence = "MIT" }},
]
[seed_set]
num_gold = 10
num_silver = 10
[iterations]
num_iterations = 0
max_retrieved = 1
num_human = 0
[reward_model]
backend = "linear"
[release]
backend = "stand_in"
"""


def transcript(number, *, chosen, rejected):
    asked = f"\n\nHuman: What is number {number}?\n\nAssistant: "
    return {"chosen": asked + chosen, "rejected": asked + rejected}


def voted(number, choices, *, empty=False):
    """A row of three people; 1 and 2 name a response, 0 is a tie. The first one is longer."""
    return {
        "instruction": f"Say something about {number}.", "input": "", "idx": number,
        "response1": "" if empty else f"a long answer, {number}", "response2": f"short, {number}",
        **{f"annotator{place}": choice for place, choice in enumerate(choices, 1)},
    }  # fmt: skip


HH = [
    *(transcript(n, chosen=f"it is {n}", rejected="no idea what it is") for n in range(30)),
    *(transcript(n, chosen=f"a good answer, {n}", rejected="no") for n in range(30, 40)),
    *(transcript(n, chosen=f"it is {n}", rejected="no idea what it is") for n in range(3)),
    *(transcript(n, chosen="the same", rejected="the same") for n in range(2)),
]
LM = [
    *(voted(n, (1, 1, 2)) for n in range(12)),
    *(voted(n, (2, 2, 2)) for n in range(12, 20)),
    *(voted(n, (0, 0, 1)) for n in range(20, 25)),
    *(voted(n, (1, 2, 0)) for n in range(25, 27)),
    *(voted(n, (1, 1, 1), empty=True) for n in range(27, 30)),
]


def told_of(result, asset):
    [event] = result.asset_materializations_for_node(asset)
    return {record.data["source"]: record.data for record in event.metadata["by_source"].records}


def test_the_pools_part_agrees_with_counts_of_the_files(tmp_path, monkeypatch):
    files = {"hh": HH, "lm": LM}
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    places = {name: json.dumps(str(tmp_path / f"{name}.jsonl")) for name in files}
    (tmp_path / "mix.toml").write_text(PROFILE.format(**places))
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    defs = build_defs(load_profile(str(tmp_path / "mix.toml")))
    result = defs.resolve_job_def("curate_pool").execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        asset_selection=[
            dg.AssetKey(name) for name in ("raw_pool", "benchmark_prompts", "clean_pool")
        ],
    )
    shown = told_of(result, "clean_pool")
    assert {name: (row["rows"], row["clean"]) for name, row in shown.items()} == {
        "hh": (45, 40), "lm": (30, 20),
    }  # fmt: skip
    assert (shown["hh"]["duplicates"], shown["hh"]["quarantined as"]) == (
        3,
        "2 identical responses",
    )
    assert shown["lm"]["quarantined"] == 10
    assert Counter(shown["lm"]["quarantined as"].split(", ")) == Counter(
        ["7 tied", "3 empty response"]
    )
    # 10 of 40, 12 of 20.
    assert shown["hh"]["longer preferred"] == "25.0% (n = 40)"
    assert shown["lm"]["longer preferred"] == "60.0% (n = 20)"


def test_the_whole_table_adds_up_to_what_was_decided(finished_campaign):
    campaign, subset = (
        finished_campaign.campaign,
        finished_campaign.ref("consistency_filtered_subset"),
    )
    rows = told_by_source(campaign, "consistency_filtered_subset", subset)
    decided = all_decisions(campaign, subset)
    raw = finished_campaign.frame(
        finished_campaign.ref("raw_pool").kept, ["pair_id", "chosen", "rejected"]
    )
    decided = decided.merge(raw.drop_duplicates("pair_id"), on="pair_id")
    longer = np.sign(decided["chosen"].str.len() - decided["rejected"].str.len())
    decided["longer"] = longer.where(decided["decision"] != "flipped", -longer)
    assert {row["source"] for row in rows} == set(decided["source"])
    for row in rows:
        own = decided[decided["source"] == row["source"]]
        counts = own["decision"].value_counts()
        assert {name: row[f"num_{name}"] for name in ("kept", "flipped", "discarded")} == {
            name: counts.get(name, 0) for name in ("kept", "flipped", "discarded")
        }
        assert row["num_clean"] == len(own)
        asked = own[own["judge_label"] != 0]
        assert row["judges"]["n"] == len(asked)
        assert row["judges"]["value"] == pytest.approx((asked["judge_label"] > 0).mean())
        curated = own[(own["decision"] != "discarded") & (own["longer"] != 0)]
        assert row["longer_after"]["n"] == len(curated)
        assert row["longer_after"]["value"] == pytest.approx((curated["longer"] > 0).mean())
        assert row["votes"]["n"] == 0  # the world's people answer when they are asked


def test_report_card_and_check_say_the_same_of_sources_and_warnings(finished_campaign):
    campaign, subset = (
        finished_campaign.campaign,
        finished_campaign.ref("consistency_filtered_subset"),
    )
    report = unsealed((finished_campaign.root / "report.json").read_bytes())
    rows = told_by_source(campaign, "consistency_filtered_subset", subset)
    assert [row["num_kept"] for row in report["by_source"]] == [row["num_kept"] for row in rows]
    page = (finished_campaign.root / "report.html").read_text()
    assert all(each["advice"] in page for each in report["warnings"])
    checks = [
        check for result in finished_campaign.results
        for check in result.get_asset_check_evaluations() if check.check_name == "no_warnings"
    ]  # fmt: skip
    assert {(check.passed, check.severity) for check in checks} == {
        (False, dg.AssetCheckSeverity.WARN)
    }
    assert "few_validation_pairs" in {each["code"] for each in report["warnings"]}
    exported = finished_campaign.root / "releases" / "curated_dataset"
    [card] = [path.read_text() for path in exported.glob("*/README.md")]
    assert all(f"| {row['source']} | {row['num_rows']:,} |" in card for row in rows)


def test_weak_models_stop_the_filter_with_figures_and_the_way_out(
    finished_campaign, start_campaign, tmp_path
):
    shutil.copytree(finished_campaign.base, tmp_path / "copy")
    strict = start_campaign(tmp_path / "copy", filtering=FilterSettings())
    result = strict.defs.resolve_job_def("curate_pool").execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        asset_selection=[dg.AssetKey("consistency_filtered_subset")],
        raise_on_error=False,
    )
    [failure] = [event for event in result.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data.description
    assert "RM is no better than chance: right about" in told
    assert "set filtering.allow_weak_models = true" in told
    assert "\n" not in told
    # The setting decides about no pair: with it the same results are found.
    before = finished_campaign.ref("consistency_filtered_subset")
    allowed = start_campaign(tmp_path / "copy")
    allowed.run("curate_pool", selection=[dg.AssetKey("consistency_filtered_subset")])
    after = allowed.ref("consistency_filtered_subset")
    assert (after.kept.fingerprint, after.dropped.fingerprint) == (
        before.kept.fingerprint,
        before.dropped.fingerprint,
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_estimated_shares_of_right_labels_cover_the_truth(tmp_path, monkeypatch):
    """Seven sources of three demos: at 95%, one of 21 intervals may miss, rarely two."""
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    covered = {}
    for seed in (0, 1, 2):
        profile = load_profile("demo", seed=seed)
        job = build_defs(profile).resolve_job_def("curate_pool")
        upstream = dg.AssetSelection.assets("consistency_filtered_subset").upstream()
        job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[*upstream.resolve(job.asset_layer.asset_graph)],
        )
        campaign, root = Campaign.of(profile), Path(profile.store_root())
        subset, pool = (
            from_json((root / "refs" / f"{name}.json").read_text())
            for name in ("consistency_filtered_subset", "clean_pool")
        )
        signs = sealed_signs(root / "world" / "sealed")
        right = {}
        for pair in campaign.pairs(pool.kept):
            is_right = (signs[pair.content_id] > 0) == (pair.chosen <= pair.rejected)
            right.setdefault(pair.source, []).append(is_right)
        for row in told_by_source(campaign, "consistency_filtered_subset", subset):
            found = row["label_accuracy"]
            truth = np.mean(right[row["source"]])
            covered[seed, row["source"]] = found["low"] <= truth <= found["high"]
    assert len(covered) == 21
    assert sum(covered.values()) >= 19, [key for key, inside in covered.items() if not inside]
