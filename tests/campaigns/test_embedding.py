"""A campaign whose vectors and judges look at a frozen backbone; its models are no heads on it."""

import dagster as dg
import numpy as np
import pytest

from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.judges.embedded.feature_judge import FEATURE_PANEL
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.stand_ins import make_stand_in
from synpref_dagster.settings.profile import Profile, load_profile
from synpref_dagster.storage import from_json, read_frame, read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
SMALL_WORLD = {"num_unverified": 240, "num_wild": 160, "num_test": 40, "benchmark_sizes": "smoke"}


def profile_of(made):
    smoke = load_profile("smoke").model_dump()
    changes = {
        "name": "looking",
        "pool": {**smoke["pool"], "world": SMALL_WORLD},
        "seed_set": {"num_gold": 60, "num_silver": 50},
        "iterations": {**smoke["iterations"], "max_retrieved": 40, "num_human": 15},
        "backbones": [{"name": "small", "path": str(made), "max_length_tokens": 512}],
        "reward_model": {"backend": "linear"},
        "release": {"backend": "frozen", "dtype": "float32"},
        "embedding": {"kind": "backbone", "model_size": "small", "min_cosine": 0.9},
        "judges": {"kind": "features", "num_samples": 3, "num_exemplars": 24},
        "evidence": {"num_judged": 30},
    }
    return Profile.model_validate({**smoke, **changes})


def features_of(campaign):
    files = (campaign.shared_folder() / "features").rglob("*.keys")
    return np.concatenate([np.load(file, allow_pickle=False) for file in files])


def test_nothing_is_read_twice_by_vectors_judges_and_the_night_after(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    row = backbone("llama-3.2-1b")
    made = make_stand_in(row, texts=["words of a world"], output_dir=tmp_path / "tiny", seed=0)
    profile = profile_of(made)
    defs, campaign = build_defs(profile), build_resources(profile)["campaign"]
    graph = defs.resolve_asset_graph()
    readers = graph.get(dg.AssetKey("backbone_features")).child_keys
    assert {key.to_user_string() for key in readers} == {"pair_embeddings"}
    instance = dg.DagsterInstance.ephemeral()

    def run(job):
        result = defs.resolve_job_def(job).execute_in_process(instance=instance)
        return {
            event.asset_key.to_user_string(): event.step_materialization_data.materialization
            for event in result.get_asset_materialization_events()
        }

    def ref(name):
        return from_json((tmp_path / "store" / "looking" / "seed-0" / "refs" / name).read_text())

    first = run("curate_pool")
    read = features_of(campaign)
    assert len(np.unique(read)) == len(read)
    vectors = ref("pair_embeddings.json")
    assert read_manifest(vectors).schema.field("vector").type.list_size > 12
    assert first["pair_embeddings"].metadata["embedding"].value["embedder"] == "backbone"
    assert len(read_frame(ref("silver_seed.json").kept))
    judged = read_frame(ref("iteration_01/judge_votes.json")["verdicts"])
    assert set(judged["judge"]) == {look.name for look in FEATURE_PANEL}
    shown = read_frame(ref("iteration_01/judge_votes.json")["exemplars"])
    assert shown.groupby("pair_id").size().max() == 24
    assert "num_links" in first["semantic_duplicates"].metadata

    night = run("filter_pool")
    assert len(features_of(campaign)) == len(read)
    assert night["pair_embeddings"].metadata["num_shards_computed"].value == 0
    assert ref("pair_embeddings.json") == vectors
