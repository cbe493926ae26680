"""The table of sources agrees with what can be counted without it; weak models stop a campaign."""

import csv
import gzip
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from synpref_dagster.assets.by_source import told_by_source
from synpref_dagster.assets.filtering.decision import all_decisions
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.preview.survey import survey
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.stages import FilterSettings
from synpref_dagster.storage import from_json
from synpref_dagster.storage.sealed import unsealed
from synpref_dagster.synthetic.sealed import sealed_signs

SOURCES = """
sources = [
  {{ name = "hh", path = {hh}, origin = "human", licence = "MIT" }},
  {{ name = "lm", path = {lm}, origin = "human", licence = "MIT" }},
]
"""
POOL = """
name = "mix"
[pool]
kind = "sources"
"""
REST = """
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


def adds_up(row):
    """Whether every pair of a source is somewhere, from its rows to what was decided."""
    return (
        row["num_rows"] + row["num_unfolded"]
        == row["num_outside"] + row["num_quarantined"] + row["num_pairs"]
        and row["num_quarantined"] == sum(row["quarantined_as"].values())
        and row["num_pairs"] == row["num_duplicates"] + row["num_dropped"] + row["num_clean"]
        and row["num_dropped"] == sum(row["dropped_as"].values())
        and row.get("num_kept", row["num_clean"])
        + row.get("num_flipped", 0)
        + row.get("num_discarded", 0)
        == row["num_clean"]
    )


def pool_of(folder, sources, monkeypatch):
    """The pool's part of a profile's table and what Dagster shows of it, by source; the profile."""
    (folder / "mix.toml").write_text(POOL + sources + REST)
    monkeypatch.setenv("SYNPREF_STORE", str(folder / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{folder / 'mlflow.db'}")
    profile = load_profile(str(folder / "mix.toml"))
    result = (
        build_defs(profile)
        .resolve_job_def("curate_pool")
        .execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[
                dg.AssetKey(name) for name in ("raw_pool", "benchmark_prompts", "clean_pool")
            ],
        )
    )
    pool = from_json((Path(profile.store_root()) / "refs" / "clean_pool.json").read_text())
    rows = told_by_source(Campaign.of(profile), "clean_pool", pool)
    return {row["source"]: row for row in rows}, told_of(result, "clean_pool"), profile


def told_of(result, asset):
    [event] = result.asset_materializations_for_node(asset)
    return {record.data["source"]: record.data for record in event.metadata["by_source"].records}


def test_the_pools_part_agrees_with_counts_of_the_files(tmp_path, monkeypatch):
    files = {"hh": HH, "lm": LM}
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    places = {name: json.dumps(str(tmp_path / f"{name}.jsonl")) for name in files}
    rows, shown, profile = pool_of(tmp_path, SOURCES.format(**places), monkeypatch)
    assert all(adds_up(row) for row in rows.values())
    assert (shown["hh"]["unfolded"], shown["hh"]["left out"]) == (0, 0)
    # A check that reads the same files before has the same rows.
    checked = survey(PoolSources(campaign=Campaign.of(profile)).specs(), seed=0).sources
    assert [{key: row[key] for key in rows[row["source"]]} for row in checked] == [*rows.values()]
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


def rows_of(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def counted_transcripts(rows):
    """Pairs and all others: whole turns that alternate, one prompt, two different answers."""

    def turns(text):
        found = re.findall(
            r"\n\n(Human|Assistant):(.*?)(?=\n\n(?:Human|Assistant):|\Z)", text, re.S
        )
        return [(role, said.strip()) for role, said in found]

    def is_pair(chosen, rejected):
        alternate = all(
            [role for role, _ in side] == ["Human", "Assistant"] * (len(side) // 2)
            for side in (chosen, rejected)
        )
        answers = chosen[-1][1], rejected[-1][1]
        return (
            alternate and chosen[:-1] == rejected[:-1] and all(answers) and len(set(answers)) == 2
        )

    sound = sum(is_pair(turns(row["chosen"]), turns(row["rejected"])) for row in rows)
    return sound, len(rows) - sound


def counted_choices(rows):
    """Reason or "pair" -> rows, and different pairs: two of three people name a response."""
    counts, different = Counter(), set()
    for row in rows:
        sides = row["response1"], row["response2"]
        choice, number = Counter(row[f"annotator{one}"] for one in (1, 2, 3)).most_common(1)[0]
        if not all(isinstance(side, str) for side in sides):
            counts["not_text"] += 1
        elif number < 2 or choice == 0:
            counts["tied"] += 1
        elif not all(side.strip() for side in sides):
            counts["empty_response"] += 1
        else:
            counts["pair"] += 1
            different.add((row["instruction"], row["input"], sides[choice - 1], sides[2 - choice]))
    return counts, len(different)


def counted_replies(message):
    """Pairs of ranked answers below a message."""
    ranked = [
        each for each in message["replies"]
        if each["role"] == "assistant" and each.get("rank") is not None
    ]  # fmt: skip
    own = len(ranked) * (len(ranked) - 1) // 2
    return own + sum(map(counted_replies, message["replies"]))


def voted_rows(folder):
    """The crowd's pairs with their votes beside them, in the layout of crowd votes."""
    said = {"left": "a", "right": "b", "tie": "equal"}
    votes = {}
    with gzip.open(folder / "crowd-comparisons.csv.gz", "rt", encoding="utf-8") as lines:
        for vote in csv.DictReader(lines):
            told = {"worker": vote["worker"], "value": said[vote["winner"]]}
            votes.setdefault(int(vote["id"]), []).append(told)
    return [
        {
            "prompt": row["text"], "response_a": row["result_x"], "response_b": row["result_y"],
            "votes": votes[row["id"]], "debate": row["slug"],
        }
        for row in rows_of(folder / "pairs-crowd.jsonl.gz")
    ]  # fmt: skip


REAL = """
test_debates = ["sally", "holidays"]
sources = [
  {{ name = "hh", path = {hh}, origin = "human", licence = "MIT" }},
  {{ name = "lm", path = {lm}, origin = "human", licence = "Apache-2.0" }},
  {{ name = "oasst", path = {oasst}, origin = "human", licence = "Apache-2.0" }},
  {{ name = "crowd", path = {crowd}, format = "crowd_votes", origin = "human", licence = "CC" }},
]
"""


def test_on_real_sets_the_pools_part_agrees_with_counts_of_the_raw_files(
    real_data, tmp_path, monkeypatch
):
    crowd = voted_rows(real_data / "llmfao")
    with gzip.open(tmp_path / "crowd.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in crowd)
    files = {
        "hh": real_data / "hh_rlhf_harmless_base_test" / "harmless-base" / "test.jsonl.gz",
        "lm": real_data / "pandalm_test" / "testset-v1.json.gz",
        "oasst": real_data / "oasst_sample" / "en_100_tree.jsonl.gz",
        "crowd": tmp_path / "crowd.jsonl.gz",
    }
    places = {name: json.dumps(str(path)) for name, path in files.items()}
    rows, _, _ = pool_of(tmp_path, REAL.format(**places), monkeypatch)
    assert all(adds_up(row) for row in rows.values())

    hh = counted_transcripts(rows_of(files["hh"]))
    assert hh == (2_299, 13)
    assert (rows["hh"]["num_pairs"], rows["hh"]["num_quarantined"]) == hh
    assert rows["hh"]["num_rows"] == 2_312

    with gzip.open(files["lm"], "rt", encoding="utf-8") as file:
        counts, num_different = counted_choices(json.load(file))
    assert rows["lm"]["num_pairs"] == counts.pop("pair") == 836
    assert rows["lm"]["quarantined_as"] == counts == {
        "tied": 105, "empty_response": 52, "not_text": 6,
    }  # fmt: skip
    assert (rows["lm"]["num_rows"], rows["lm"]["num_clean"]) == (999, num_different)

    trees = rows_of(files["oasst"])
    assert (
        rows["oasst"]["num_pairs"] == sum(counted_replies(tree["prompt"]) for tree in trees) == 754
    )
    assert (rows["oasst"]["num_rows"], rows["oasst"]["num_unfolded"]) == (100, 654)

    held_out = [row for row in crowd if row["debate"] in ("sally", "holidays")]
    others = [row for row in crowd if row["debate"] not in ("sally", "holidays")]
    tied = [row for row in others if all(vote["value"] == "equal" for vote in row["votes"])]
    empty = [
        row for row in others
        if row not in tied and not (row["response_a"].strip() and row["response_b"].strip())
    ]  # fmt: skip
    reasons = rows["crowd"]["quarantined_as"]
    assert rows["crowd"]["num_rows"] == len(crowd) == 2_139
    assert rows["crowd"]["num_outside"] == len(held_out) == 336
    assert reasons["no_preference"] == len(tied) == 112
    # Of rendered chats, which are no single answers, a few are empty once they are unfolded.
    assert reasons["empty_response"] >= len(empty) == 213
    left = len(others) - len(tied) - reasons["empty_response"] - reasons.get("rendered_chat", 0)
    assert rows["crowd"]["num_pairs"] == left


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
    assert all(adds_up(row) for row in rows)
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
    # The world's judges know what people want, and curation makes nothing of length there.
    assert not {"judges_at_chance", "curation_follows_length"} & {
        each["code"] for each in report["warnings"]
    }
    # All labels of the world have a truth, which is not what people said.
    known = {name: each["num_known"] for name, each in report["truth"]["by_source"].items()}
    assert known == {row["source"]: row["num_clean"] for row in rows}
    assert not report["truth"]["votes_play_people"]
    assert "truth known" in page
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
