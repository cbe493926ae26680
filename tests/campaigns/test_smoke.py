"""A whole campaign of the smoke profile: nothing vanishes, nothing leaks, nothing is done twice.

The campaign runs once (`finished_campaign`); its data are then read back and every invariant is
computed again from them, not taken from the checks that ran inside.
"""

import json
import shutil

import dagster as dg
import pytest

from synpref_dagster.assets.columns import COLUMN_WORDS
from synpref_dagster.assets.filtering.decision import CLEAN_POOL, flip_guard
from synpref_dagster.pairs.record import is_among
from synpref_dagster.resources.campaign import ATTRIBUTES, FITTED_ON, POOL
from synpref_dagster.reward.training import loop
from synpref_dagster.storage import DatasetRef, SelectionRef, dataset, read_manifest, step_key
from synpref_dagster.storage.manifest import make_ref
from synpref_dagster.storage.sealed import SEAL

LAST = "iteration_01"
NAMED = {POOL, ATTRIBUTES, FITTED_ON, CLEAN_POOL}
JOBS = ("curate_pool", "release_models", "refresh_leaderboard")


def ids(campaign, ref, column="pair_id"):
    return list(campaign.frame(ref, [column])[column])


def keys_of(defs, *jobs):
    """Keys of the assets that jobs materialise."""
    return set().union(*(defs.resolve_job_def(job).asset_layer.selected_asset_keys for job in jobs))


def curation_keys(defs):
    """Everything up to the releases: what must run without the truth."""
    graph = defs.resolve_asset_graph()
    keys = keys_of(defs, "curate_pool")
    return [key for key in sorted(keys) if graph.get(key).group_name != "7_evidence"]


def comparable(report):
    of_a_run = ("seconds", "made", "cost", "#blake2b")
    return {name: value for name, value in report.items() if name not in of_a_run}


def read_report(campaign):
    return json.loads((campaign.root / "report.json").read_text())


def test_every_row_read_is_a_pair_or_in_quarantine(finished_campaign):
    raw = finished_campaign.ref("raw_pool")
    num_rows = 0
    world = finished_campaign.root / "world"
    sources = json.loads((world / "manifest.json").read_text())["sources"]
    for source in sources.values():
        num_rows += source["num_rows"]
    assert num_rows == raw.kept.num_rows + raw.dropped.num_rows
    assert read_report(finished_campaign)["pool"]["read"] == num_rows


def test_every_pair_of_the_raw_pool_is_clean_or_dropped_with_a_reason(finished_campaign):
    raw, clean = finished_campaign.ref("raw_pool"), finished_campaign.ref("clean_pool")
    kept = ids(finished_campaign, clean.kept)
    # A repeated pair has the same id as the one that stays: rows are counted, not ids.
    assert len(kept) == len(set(kept))
    assert clean.kept.num_rows + clean.dropped.num_rows == raw.kept.num_rows
    dropped = finished_campaign.frame(clean.dropped)
    assert dropped["reason"].isin(["contaminated", "duplicate"]).all()
    assert set(kept) | set(dropped["pair_id"]) == set(ids(finished_campaign, raw.kept))


def test_the_two_pools_share_the_clean_pool_out(finished_campaign):
    clean = set(ids(finished_campaign, finished_campaign.ref("clean_pool").kept))
    unverified = ids(finished_campaign, finished_campaign.ref("unverified_pool"))
    wild = ids(finished_campaign, finished_campaign.ref("wild_pool"))
    assert not set(unverified) & set(wild)
    assert set(unverified) | set(wild) == clean
    assert len(unverified) + len(wild) == len(clean)


def test_every_seed_candidate_ends_in_gold_silver_or_dropped(finished_campaign):
    candidates = finished_campaign.frame(finished_campaign.ref("seed_candidates"))
    for asked, name in (("people", "human_verified_seed"), ("judges", "silver_seed")):
        seed = finished_campaign.ref(name)
        found = ids(finished_campaign, seed.kept) + ids(finished_campaign, seed.dropped)
        wanted = candidates.loc[candidates["asked"] == asked, "pair_id"]
        assert sorted(found) == sorted(wanted), name


def test_every_retrieved_pair_was_labelled_by_people_or_judges(finished_campaign):
    retrieved = set(ids(finished_campaign, finished_campaign.ref(f"{LAST}/retrieved_pairs")))
    asked = set(ids(finished_campaign, finished_campaign.ref(f"{LAST}/human_verdicts")))
    panel = finished_campaign.ref(f"{LAST}/judge_votes")
    judged = set(ids(finished_campaign, panel["labels"]))
    assert asked | judged == retrieved
    before = ids(finished_campaign, finished_campaign.ref("human_verified_seed").kept)
    gold = finished_campaign.ref(f"{LAST}/gold")
    ends = ids(finished_campaign, gold.kept) + ids(finished_campaign, gold.dropped)
    assert set(before) | asked <= set(ends)


def test_every_clean_pair_has_one_decision_and_a_reason(finished_campaign):
    subset = finished_campaign.ref("consistency_filtered_subset")
    kept, dropped = (finished_campaign.frame(part) for part in (subset.kept, subset.dropped))
    clean = ids(finished_campaign, finished_campaign.ref("clean_pool").kept)
    assert sorted([*kept["pair_id"], *dropped["pair_id"]]) == sorted(clean)
    assert set(kept["decision"]) == {"kept"}
    assert set(dropped["decision"]) <= {"flipped", "discarded"}
    assert kept["reason"].ne("").all()
    assert dropped["reason"].ne("").all()
    recycled = finished_campaign.frame(finished_campaign.ref("recycled_pairs"))
    assert sorted(recycled["pair_id"]) == sorted(
        dropped.loc[dropped["decision"] == "flipped", "pair_id"]
    )


def test_the_report_counts_what_the_tables_hold(finished_campaign):
    report = read_report(finished_campaign)
    clean = finished_campaign.ref("clean_pool")
    assert report["pool"]["clean"] == clean.kept.num_rows == sum(report["decisions"].values())
    assert sum(report["pool"]["dropped"].values()) == clean.dropped.num_rows
    assert sum(report["decisions_by_reason"].values()) == clean.kept.num_rows
    assert report["label_accuracy"]["before"]["n"] == clean.kept.num_rows
    assert {row["model_size"] for row in report["leaderboard"]} == {"qwen3-0.6b"}


def test_gold_and_silver_never_share_a_content(finished_campaign):
    for gold, silver in (
        ("human_verified_seed", "silver_seed"),
        (f"{LAST}/gold", f"{LAST}/silver"),
    ):
        verified = set(ids(finished_campaign, finished_campaign.ref(gold).kept, "content_id"))
        labelled = set(ids(finished_campaign, finished_campaign.ref(silver).kept, "content_id"))
        assert verified
        assert labelled
        assert not verified & labelled


def test_no_conversation_that_validates_is_in_any_training_set(finished_campaign):
    gold = finished_campaign.frame(finished_campaign.ref(f"{LAST}/gold").kept)
    validating = gold.loc[gold["split"] == "validation", "conversation_id"]
    assert len(validating) > 10
    training = gold.loc[gold["split"] == "train", "conversation_id"]
    silver = finished_campaign.frame(finished_campaign.ref(f"{LAST}/silver").kept)
    for conversations in (training, silver["conversation_id"]):
        assert not is_among(conversations, set(validating)).any()


def test_the_validation_part_of_gold_never_changes(finished_campaign):
    seed, last = (
        finished_campaign.frame(finished_campaign.ref(name).kept)
        for name in ("human_verified_seed", f"{LAST}/gold")
    )
    first, now = (set(f.loc[f["split"] == "validation", "pair_id"]) for f in (seed, last))
    assert first == now


def panel(campaign, name):
    """What an asset that asked the judges kept: verdicts, exemplars and targets, as written."""
    folder = campaign.root / "data" / name
    found = {part: str(folder / part) for part in ("labels", "exemplars", "targets")}
    return {part: campaign.frame(make_ref(uri, read_manifest(uri))) for part, uri in found.items()}


@pytest.mark.parametrize(
    "name", ["silver_seed", f"{LAST}/judge_votes", "relabelled_pairs", "flip_evidence"]
)
def test_judges_never_saw_the_target_its_conversation_or_a_validation_pair(finished_campaign, name):
    kept = panel(finished_campaign, name)
    conversation = dict(
        zip(kept["targets"]["pair_id"], kept["targets"]["conversation_id"], strict=True)
    )
    gold = finished_campaign.frame(finished_campaign.ref(f"{LAST}/gold").kept)
    validating = set(gold.loc[gold["split"] == "validation", "pair_id"])
    assert len(kept["exemplars"]) >= len(kept["labels"])
    for row in kept["exemplars"].itertuples():
        assert row.pair_id != row.gold_pair_id
        assert conversation[row.pair_id] != conversation[row.gold_pair_id]
        assert row.gold_pair_id not in validating


def test_every_asset_records_a_data_version_of_its_content(finished_campaign):
    versions = finished_campaign.data_versions()
    assert len(versions) == len(keys_of(finished_campaign.defs, *JOBS))
    clean = finished_campaign.ref("clean_pool")
    assert versions["clean_pool"] == f"{clean.kept.fingerprint}-{clean.dropped.fingerprint}"
    assert versions["wild_pool"] == finished_campaign.ref("wild_pool").fingerprint


def test_every_data_asset_shows_its_rows_and_columns(finished_campaign):
    for result in finished_campaign.results:
        for event in result.get_asset_materialization_events():
            value = finished_campaign.ref(
                "/".join(event.asset_key.path) + (f"/{event.partition}" if event.partition else "")
            )
            metadata = event.step_materialization_data.materialization.metadata
            if isinstance(value, DatasetRef | SelectionRef):
                assert metadata["dagster/row_count"].value >= 0
                assert metadata["dagster/column_schema"].value.columns
            assert "dagster/uri" in metadata


def test_columns_are_explained_and_no_explanation_is_of_a_column_that_is_gone(finished_campaign):
    shown = {}
    for result in finished_campaign.results:
        for event in result.get_asset_materialization_events():
            metadata = event.step_materialization_data.materialization.metadata
            if "dagster/column_schema" in metadata:
                columns = metadata["dagster/column_schema"].value.columns
                shown["/".join(event.asset_key.path)] = {c.name: c for c in columns}
    assert set(COLUMN_WORDS) <= {name for columns in shown.values() for name in columns}
    for asset in ("clean_pool", "consistency_filtered_subset", "human_verified_seed"):
        assert [c.name for c in shown[asset].values() if not c.description] == []
    assert shown["clean_pool"]["pair_id"].type == "uuid"


def test_work_on_the_pool_is_found_by_what_it_was_found_by_before(finished_campaign):
    """Another name or value here, and every store out there computes all of that work anew."""
    campaign, ref = finished_campaign.campaign, finished_campaign.ref
    graph = finished_campaign.defs.resolve_asset_graph()

    def at(*folders):
        uri = campaign.uri("data", *folders)
        return make_ref(uri, read_manifest(uri))

    clean, subset = ref("clean_pool").kept, ref("consistency_filtered_subset")
    texts, rewards = campaign.texts(clean), ref("pool_rewards")
    models = {name: ref(f"{name}_reward_model").fingerprint for name in ("best", "gold")}
    known = at("relabelled_pairs", "labelled")
    max_confidence = flip_guard(campaign, ref("flip_evidence")).max_confidence
    labels = {
        name: at("consistency_filtered_subset", "labels", name).fingerprint
        for name in ("judged", "people")
    }
    once = [at("curated_dataset", f"{decision}_once") for decision in ("kept", "flipped")]
    stage_one = at("curated_dataset", "stage_one").fingerprint
    labeller = {"labeller": "classifier", "num_training_examples": 1_500}
    found = {
        "attribute_labels": (
            at("attribute_labels", "of_own"),
            [at("attribute_labels", "split", "own"), texts],
            {"labeller": labeller},
        ),
        "pool_rewards": (rewards, [at("pool_rewards", "ids"), texts], {"models": models}),
        "relabelled_pairs": (
            at("relabelled_pairs", "candidates"),
            [clean, rewards],
            {"labelled": known.fingerprint, "unsure_band": 0.0},
        ),
        "consistency_filtered_subset": (
            subset.kept,
            [clean, rewards, ref("attribute_labels")],
            {"guard": {"max_confidence": max_confidence, "recycle": "strict"}, "labels": labels},
        ),
        "curated_dataset": (
            ref("curated_dataset"),
            [clean, *once, texts],
            {"stage_one": stage_one},
        ),
    }
    for name, (made, inputs, about) in found.items():
        version = graph.get(dg.AssetKey(name)).code_version
        assert read_manifest(made).step == step_key(
            version=version, inputs=[each.fingerprint for each in inputs], params=about
        ), name


@pytest.mark.slow
def test_curation_needs_no_sealed_truth(finished_campaign, new_campaign):
    blind = new_campaign("blind")
    shutil.copytree(finished_campaign.root / "world", blind.root / "world")
    shutil.rmtree(blind.root / "world" / "sealed")
    blind.run("curate_pool", selection=curation_keys(blind.defs))
    assert not (blind.root / "world" / "sealed").exists()
    seen = finished_campaign.data_versions()
    assert blind.data_versions() == {name: seen[name] for name in blind.data_versions()}
    assert "recycled_pairs" in blind.data_versions()
    with pytest.raises(ValueError, match=r"no file at '.*sealed/test_pairs\.jsonl'"):
        blind.run("curate_pool", selection=[dg.AssetKey("filter_audit")])


def test_a_second_run_computes_nothing_and_finds_everything(finished_campaign, monkeypatch):
    before = finished_campaign.files()
    versions, report = finished_campaign.data_versions(), read_report(finished_campaign)

    def refuse(*_, **__):
        raise AssertionError("something finished was computed again")

    monkeypatch.setattr(dataset, "write_dataset", refuse)
    monkeypatch.setattr(loop, "take_step", refuse)
    finished_campaign.run(*JOBS)
    assert finished_campaign.data_versions() == versions
    assert comparable(read_report(finished_campaign)) == comparable(report)
    again = finished_campaign.changed_since(before)
    # References are written anew with the same content; only the report carries the time it took.
    assert again <= {"report.json", "report.html"}


def without_names(campaign):
    """Make the store one of an earlier version: no table names its pool, nothing is sealed."""
    for path in (campaign.root / "data").rglob("*.json"):
        content = json.loads(path.read_text())
        if isinstance(content, dict) and "meta" in content:
            content.pop(SEAL)
            kept = {name: fact for name, fact in content["meta"].items() if name not in NAMED}
            path.write_text(json.dumps({**content, "meta": kept}))
    for name in ("gold", "silver"):
        (campaign.root / "refs" / f"{name}.json").unlink()


def test_a_store_of_an_earlier_version_is_used_as_it_is(finished_campaign, monkeypatch):
    versions = finished_campaign.data_versions()
    without_names(finished_campaign)
    with pytest.raises(ValueError, match="names no 'pool': an earlier version wrote it"):
        finished_campaign.run("curate_pool", selection=[dg.AssetKey("silver_seed")])

    def refuse(*_, **__):
        raise AssertionError("something finished was computed again")

    monkeypatch.setattr(dataset, "write_dataset", refuse)
    monkeypatch.setattr(loop, "take_step", refuse)
    finished_campaign.run(*JOBS)
    assert finished_campaign.data_versions() == versions


@pytest.mark.slow
def test_the_same_seed_gives_the_same_campaign_in_another_store(finished_campaign, new_campaign):
    other = new_campaign("twin").run(*JOBS)
    assert other.data_versions() == finished_campaign.data_versions()
    assert comparable(read_report(other)) == comparable(read_report(finished_campaign))


def test_another_seed_gives_another_campaign(finished_campaign, new_campaign):
    keys = [dg.AssetKey(name) for name in ("raw_pool", "benchmark_prompts")]
    other = new_campaign("other", seed=1).run("curate_pool", selection=keys)
    ours = finished_campaign.data_versions()
    assert not {name for name, version in other.data_versions().items() if version == ours[name]}


def test_mlflow_keeps_one_parent_with_a_child_per_asset_and_the_curve_of_gold(finished_campaign):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=finished_campaign.tracking_uri)
    experiment = client.get_experiment_by_name("smoke")
    runs = list(client.search_runs([experiment.experiment_id], max_results=500))
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.run_name for run in parents] == ["smoke-seed-0"]
    [parent] = parents
    children = {run.data.tags["synpref.asset"] for run in runs if run is not parent}
    # Another test may have asked the judges in this campaign.
    children -= {key.to_user_string() for key in keys_of(finished_campaign.defs, "score_judges")}
    assert children == {key.to_user_string() for key in keys_of(finished_campaign.defs, *JOBS)}
    assert {run.info.status for run in runs} == {"FINISHED"}
    for metric in ("gold/accuracy", "gold/num_pairs"):
        curve = client.get_metric_history(parent.info.run_id, metric)
        assert sorted({point.step for point in curve}) == [0, 1]


def test_a_trained_model_shows_in_mlflow_what_it_is_its_settings_and_its_loss(finished_campaign):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=finished_campaign.tracking_uri)
    experiment = client.get_experiment_by_name("smoke").experiment_id
    settings = finished_campaign.campaign.profile.reward_model
    for asset in ("iteration_01/reward_model", "gold_reward_model"):
        # A later run finds the finished model, and shows the same of it.
        run = client.search_runs([experiment], f"tags.`synpref.asset` = '{asset}'")[0]
        assert "eward model trained on" in run.data.tags["mlflow.note.content"]
        assert run.data.params["learning_rate"] == str(settings.learning_rate)
        assert run.data.params["max_steps"] == str(settings.num_steps)
        losses = client.get_metric_history(run.info.run_id, "training/loss")
        assert sorted(point.step for point in losses) == list(range(settings.num_steps))
