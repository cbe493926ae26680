"""A campaign on backbones of one's own that are read and not trained: every name follows."""

import dagster as dg
import numpy as np
import pytest

from synpref_dagster.cli.campaign import run_campaign
from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.stand_ins import make_stand_in
from synpref_dagster.settings.profile import Profile, load_profile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
SIZES = ("small", "other")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of a campaign on two rows of one small backbone, none of the paper's eight."""
    folder = tmp_path_factory.mktemp("own")
    made = make_stand_in(
        backbone("llama-3.2-1b"), texts=["words of a world"], output_dir=folder / "tiny", seed=0
    )
    return folder, made


def profile_of(made):
    rows = [
        {"name": "small", "path": str(made), "licence": "mit", "max_length_tokens": 512},
        {"name": "other", "path": str(made), "max_length_tokens": 256},
    ]
    return Profile.model_validate(
        {
            **load_profile("smoke").model_dump(),
            "name": "own",
            "backbones": rows,
            "reward_model": {"backend": "frozen", "model_size": "small", "dtype": "float32"},
            "release": {"backend": "frozen", "poolings": ["last"], "dtype": "float32"},
        }
    )


def test_sizes_partitions_leaderboard_registry_and_cards_are_those_of_the_profile(
    place, monkeypatch
):
    folder, made = place
    monkeypatch.setenv("SYNPREF_STORE", str(folder / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "home"))
    (folder / "home").mkdir()
    profile = profile_of(made)
    run_campaign(profile, sizes=list(SIZES), loggers={}, on_stage=lambda _: None)
    defs = build_defs(profile)
    graph = defs.resolve_asset_graph()
    release = graph.get(dg.AssetKey("model_release"))
    assert release.partitions_def.get_partition_keys() == list(SIZES)
    readers = graph.get(dg.AssetKey("backbone_features")).child_keys
    assert {key.to_user_string() for key in readers} == {
        "gold_reward_model", "pool_rewards",
        "iteration_00/reward_model", "iteration_01/reward_model",
    }  # fmt: skip
    resources = build_resources(profile)
    registry = resources["tracking"].registry()
    for size in SIZES:
        found = registry.aliased(f"own-skywork-reward-v2-{size}", "candidate")
        assert found is not None
        [released] = (resources["campaign"].local_folder("releases", size)).iterdir()
        card = (released / "README.md").read_text()
        assert f"A head fitted with the Bradley-Terry loss on layer 1 of `{made}`" in card
        assert ("license: mit" if size == "small" else "license: other") in card
    store = resources["campaign"].shared_folder()
    features = sorted(path.name for path in (store / "features").iterdir())
    assert len(features) == 2  # the two rows read to other lengths
    for name in features:
        files = (store / "features" / name).glob("*.keys")
        every = np.concatenate([np.load(file, allow_pickle=False) for file in files])
        assert len(np.unique(every)) == len(every)  # no response was read twice
