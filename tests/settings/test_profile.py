"""Profiles: what is read, what is refused, what the environment may override."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from synpref_dagster.settings.models import FrozenReleaseSettings
from synpref_dagster.settings.profile import (
    load_profile,
    mlflow_artifact_root,
    mlflow_uri,
    packaged_profiles,
    real_data_folder,
)

SMALL = """
name = "small"
[pool]
kind = "synthetic_world"
[seed_set]
num_gold = 10
num_silver = 20
[iterations]
num_iterations = 1
max_retrieved = 5
num_human = 2
[reward_model]
backend = "linear"
[release]
backend = "stand_in"
"""


@pytest.fixture
def write_profile(tmp_path):
    def write(text):
        path = tmp_path / "small.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", packaged_profiles())
def test_every_packaged_profile_is_legal_and_named_after_its_file(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.seed == 0
    assert 0 < profile.seed_set.validation_share < 1


def test_the_profiles_of_the_readme_are_there():
    assert set(packaged_profiles()) == {
        *("demo", "paper", "paper_small", "smoke"),
        *("real", "real_turned", "real_biased", "real_finetuned"),
    }


def test_the_small_paper_has_two_of_the_eight_sizes_and_judges_that_cost_money():
    small = load_profile("paper_small")
    assert small.sizes() == ("qwen3-0.6b", "llama-3.2-1b")
    assert small.judges.cost_money
    assert small.judges.max_usd == 500.0
    assert len(small.judges.endpoints) % 2 == 1
    assert {source.hub_id for source in small.pool.sources} == {
        source.hub_id for source in load_profile("paper").pool.sources
    }


def test_the_environment_may_set_the_key_prefix_and_takes_it_away(write_profile, monkeypatch):
    path = write_profile('key_prefix = "own"\n' + SMALL)
    assert load_profile(path).key_prefix == "own"
    assert load_profile(path).run_tags()["synpref/key_prefix"] == "own"
    for prefix in ("other", ""):
        monkeypatch.setenv("SYNPREF_KEY_PREFIX", prefix)
        assert load_profile(path).key_prefix == prefix
    assert set(load_profile(path).run_tags()) == {"synpref/profile", "synpref/seed"}


def test_demo_is_the_default_and_the_environment_chooses_another(monkeypatch):
    assert load_profile().name == "demo"
    monkeypatch.setenv("SYNPREF_PROFILE", "smoke")
    assert load_profile().name == "smoke"
    assert load_profile("demo").name == "demo"


def test_a_seed_comes_from_the_argument_then_the_environment_then_the_profile(
    monkeypatch, write_profile
):
    path = write_profile("seed = 3\n" + SMALL)
    assert load_profile(path).seed == 3
    monkeypatch.setenv("SYNPREF_SEED", "4")
    assert load_profile(path).seed == 4
    assert load_profile(path, seed=5).seed == 5
    assert load_profile(path, seed=0).seed == 0


def test_a_profile_of_your_own_is_read_from_its_path(write_profile):
    profile = load_profile(write_profile(SMALL))
    assert profile.name == "small"
    assert profile.seed_set.num_gold == 10
    assert profile.iterations.human_policy == "judge_disagreement"
    assert profile.filtering.recycle == "strict"


@pytest.mark.parametrize(
    "typo", ["nmae = 1\n" + SMALL, SMALL.replace("num_gold", "num_golds"), SMALL + "\n[polo]\n"]
)
def test_an_unknown_key_is_refused(write_profile, typo):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        load_profile(write_profile(typo))


def test_an_unknown_choice_is_refused(write_profile):
    with pytest.raises(ValidationError, match="stand_in"):
        load_profile(write_profile(SMALL.replace('"linear"', '"forest"')))


def test_an_unknown_profile_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="'dmeo' is unknown; use one of demo, paper, paper_small"):
        load_profile("dmeo")


def test_a_missing_profile_file_is_named():
    with pytest.raises(ValueError, match=r"profile file 'nowhere\.toml' does not exist"):
        load_profile("nowhere.toml")


def test_a_profile_cannot_be_changed_after_it_was_read():
    with pytest.raises(ValidationError, match="frozen"):
        load_profile("demo").seed = 1


def test_campaigns_of_two_profiles_or_seeds_never_share_a_folder(monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", "s3://bucket/campaigns/")
    roots = {
        load_profile(name, seed=seed).store_root() for name in ("demo", "real") for seed in (0, 1)
    }
    assert roots == {
        f"s3://bucket/campaigns/{name}/seed-{seed}" for name in ("demo", "real") for seed in (0, 1)
    }


def test_real_data_and_backbone_are_found_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("SYNPREF_REAL_DATA", "/data/public")
    monkeypatch.setenv("SYNPREF_SMOLLM2", "/models/smollm2")
    assert real_data_folder() == "/data/public"
    real = load_profile("real")
    assert real.pool.sources[0].path == "/data/public/ukp_convincing_arguments/pairs.jsonl.gz"
    assert real.backbones[0].path == "/models/smollm2"


def test_the_real_profiles_differ_in_the_noise_of_their_labels_only():
    plain, *noisy = (
        load_profile(name).model_dump() for name in ("real", "real_turned", "real_biased")
    )
    noise = [profile["pool"].pop("label_noise") for profile in (plain, *noisy)]
    assert [(each["flip_share"], each["longer_share"]) for each in noise] == [
        (0.0, 0.0),
        (0.3, 0.0),
        (0.0, 0.5),
    ]
    for profile in (plain, *noisy):
        for told in ("name", "evidence"):
            del profile[told]
    assert all(profile == plain for profile in noisy)


def test_the_finetuned_profile_trains_on_worse_labels_what_the_truth_is_known_of():
    profile, turned = load_profile("real_finetuned"), load_profile("real_turned")
    assert [source.name for source in profile.pool.sources] == ["ukp"]
    assert profile.pool.label_noise == turned.pool.label_noise
    assert profile.reward_model == turned.reward_model
    asked, release = profile.evidence.variants, profile.release
    assert asked.training_sets == ("original", "final", "truth")
    assert release.num_steps * release.batch_pairs == asked.num_pairs


def test_the_splits_of_the_real_profiles_share_no_debate():
    splits = [load_profile("real", seed=seed).pool.test_splits[seed] for seed in range(3)]
    names = [name for split in splits for name in split]
    assert len(names) == len(set(names)) == 27


@pytest.fixture
def written(tmp_path):
    """Writes a profile file; gives its path."""

    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_a_table_of_another_backend_takes_the_place_of_the_base_s(written):
    base = written("base.toml", 'extends = "smoke"\nname = "base"\n[release]\nnum_steps = 3\n')
    top = f'extends = "{base}"\nname = "top"\n[release]\nbackend = "BACKEND"\n'
    other = load_profile(written("other.toml", top.replace("BACKEND", "frozen")))
    assert other.release == FrozenReleaseSettings(backend="frozen")
    same = load_profile(written("same.toml", top.replace("BACKEND", "stand_in")))
    assert same.release.num_steps == 3


def test_a_profile_extends_another_table_by_table(written):
    base = written("base.toml", 'extends = "smoke"\nname = "base"\n[judges]\nnum_samples = 3\n')
    path = written(
        "top.toml", f'extends = "{base}"\nname = "top"\n[filtering]\nguard_floor = 0.7\n'
    )
    smoke, top = load_profile("smoke"), load_profile(path)
    assert (top.name, top.judges.num_samples, top.filtering.guard_floor) == ("top", 3, 0.7)
    assert top.filtering.unsure_band == smoke.filtering.unsure_band
    assert top.pool == smoke.pool


def test_a_list_takes_the_place_of_the_one_that_is_extended(written):
    source = (
        '[[pool.sources]]\nname = "mine"\npath = "x"\norigin = "human"\nformat = "crowd_votes"\n'
    )
    path = written("mine.toml", f'extends = "real"\nname = "mine"\n{source}')
    assert [source.name for source in load_profile(path).pool.sources] == ["mine"]


def test_profiles_that_extend_each_other_are_refused(written, tmp_path):
    other = tmp_path / "two.toml"
    one = written("one.toml", f'extends = "{other}"\n')
    written("two.toml", f'extends = "{one}"\n')
    with pytest.raises(ValueError, match=r"extend each other: .*one\.toml -> .*two\.toml -> "):
        load_profile(one)
    with pytest.raises(ValueError, match="extends is 3: name one profile"):
        load_profile(written("three.toml", "extends = 3\n"))


def test_tracking_lies_beside_its_database(monkeypatch, tmp_path):
    assert mlflow_uri() == f"sqlite:///{Path('.synpref/mlflow.db').resolve()}"
    assert mlflow_artifact_root() == str(Path(".synpref/mlflow_artifacts").resolve())
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path}/tracking.db")
    assert mlflow_artifact_root() == f"{tmp_path}/mlflow_artifacts"
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", "postgresql+psycopg2://localhost/mlflow")
    assert mlflow_artifact_root() == str(Path(".synpref/mlflow_artifacts").resolve())
