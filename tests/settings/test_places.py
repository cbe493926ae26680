"""Paths in a profile file start from the folder of that file."""

from pathlib import Path
from typing import get_args

import pytest

from synpref_dagster.settings.addresses import LedgerAddress, LocalPath, PlacePath
from synpref_dagster.settings.models import Place
from synpref_dagster.settings.places import PLACES
from synpref_dagster.settings.profile import Profile, load_profile
from synpref_dagster.settings.section import Section

KINDS_OF_PATHS = (PlacePath, LocalPath, Place, LedgerAddress)
OWN = """
name = "own"
[seed_set]
num_gold = 10
num_silver = 10
[iterations]
num_iterations = 1
max_retrieved = 5
num_human = 2
[pool]
kind = "sources"
benchmarks = { rm_bench = "sets/rm_bench", reward_bench = "hub" }
custom_benchmarks = { mine = "hub" }
[[pool.sources]]
name = "crowd"
path = "data/crowd"
origin = "human"
[[pool.sources]]
name = "away"
path = "s3://bucket/pairs.jsonl"
origin = "human"
[[pool.sources]]
name = "absolute"
path = "/data/pairs.jsonl"
origin = "human"
[people]
backend = "page"
ledger_url = "sqlite:///answers.sqlite3"
[judges]
kind = "exemplar"
cache = "replies.sqlite"
endpoints = [{ name = "one", base_url = "http://localhost:1", model = "m" }]
[[backbones]]
name = "here"
path = "./model"
[[backbones]]
name = "beside"
path = "models/tiny"
[[backbones]]
name = "mistyped"
path = "models/tini"
[[backbones]]
name = "hub"
path = "owner/name"
[reward_model]
backend = "hub"
model_size = "here"
backbone = "../shared/model"
[release]
backend = "hub"
backbones = { here = "a/b/c" }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a profile and a model; the working folder is the one around it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub" / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "sub" / "own.toml").write_text(OWN)
    return tmp_path / "sub"


def paths_of(profile):
    pool = profile.pool
    return [
        *(source.path for source in pool.sources),
        *pool.benchmarks.values(),
        *pool.custom_benchmarks.values(),
        *(row.path for row in profile.backbones),
        profile.reward_model.backbone,
        *profile.release.backbones.values(),
        profile.judges.cache,
        profile.people.ledger_url,
    ]


AS_WRITTEN = [
    *("data/crowd", "s3://bucket/pairs.jsonl", "/data/pairs.jsonl"),
    *("sets/rm_bench", "hub", "hub"),
    *("./model", "models/tiny", "models/tini", "owner/name"),
    *("../shared/model", "a/b/c", "replies.sqlite", "sqlite:///answers.sqlite3"),
]


def test_every_path_of_a_file_elsewhere_starts_from_its_folder(folder):
    found = paths_of(load_profile("sub/own.toml"))
    assert found == [
        *(f"{folder}/data/crowd", "s3://bucket/pairs.jsonl", "/data/pairs.jsonl"),
        *(f"{folder}/sets/rm_bench", "hub", f"{folder}/hub"),
        *(f"{folder}/model", f"{folder}/models/tiny", f"{folder}/models/tini", "owner/name"),
        *(f"{folder}/../shared/model", f"{folder}/a/b/c"),
        *(f"{folder}/replies.sqlite", f"sqlite:///{folder}/answers.sqlite3"),
    ]


@pytest.mark.parametrize("spelled", ["own.toml", "./own.toml", "../sub/own.toml", "{}/own.toml"])
def test_in_the_working_folder_paths_and_so_keys_stay_as_they_are_written(
    folder, monkeypatch, spelled
):
    monkeypatch.chdir(folder)
    assert paths_of(load_profile(spelled.format(folder))) == AS_WRITTEN


def test_a_profile_that_is_extended_has_paths_of_its_own(folder, tmp_path):
    (tmp_path / "other").mkdir()
    top = tmp_path / "other" / "top.toml"
    top.write_text(
        'extends = "../sub/own.toml"\nname = "top"\n[pool.benchmarks]\nrm_bench = "mine"\n'
    )
    profile = load_profile("other/top.toml")
    assert profile.pool.sources[0].path == f"{folder}/data/crowd"
    assert profile.pool.benchmarks == {
        "rm_bench": f"{tmp_path}/other/mine",
        "reward_bench": "hub",
    }
    (folder / "beside.toml").write_text('extends = "own.toml"\nname = "beside"\n')
    assert load_profile("sub/beside.toml").pool == load_profile("sub/own.toml").pool


def test_profiles_that_extend_each_other_are_found_whatever_they_are_called(folder):
    (folder / "own.toml").write_text('extends = "../sub/../sub/own.toml"\n')
    with pytest.raises(ValueError, match="extend each other"):
        load_profile("sub/own.toml")


def test_a_file_that_is_extended_and_missing_is_named_where_it_was_looked_for(folder):
    (folder / "own.toml").write_text('extends = "base.toml"\n')
    with pytest.raises(ValueError, match=r"profile file 'sub/base\.toml' does not exist"):
        load_profile("sub/own.toml")


@pytest.mark.parametrize("place", ["public", "../public", "/public", "s3://bucket/public"])
def test_what_is_packaged_and_variables_start_from_the_working_folder(
    folder, tmp_path, monkeypatch, place
):
    monkeypatch.setenv("SYNPREF_REAL_DATA", place)
    (folder / "own.toml").write_text(
        'extends = "real"\nname = "own"\n[pool.benchmarks]\njudge_bench = "${SYNPREF_REAL_DATA}/j"'
    )
    packaged, own = load_profile("real"), load_profile("sub/own.toml")
    assert packaged.pool.sources == own.pool.sources
    assert own.pool.sources[1].path == ".synpref/real_mix/pandalm.jsonl.gz"
    expected = place if ":" in place or place[0] == "/" else f"{tmp_path}/{place}"
    assert own.pool.benchmarks["judge_bench"] == f"{expected}/j"
    monkeypatch.chdir(folder)
    assert load_profile("own.toml").pool.benchmarks["judge_bench"] == f"{place}/j"


def test_a_backbone_of_a_variable_is_a_folder_where_there_is_one(folder, tmp_path, monkeypatch):
    (folder / "own.toml").write_text(
        'extends = "real"\nname = "own"\n[[backbones]]\nname = "smollm2-135m"\n'
        'path = "${SYNPREF_SMOLLM2}"\n'
    )
    monkeypatch.setenv("SYNPREF_SMOLLM2", "weights/small")
    assert load_profile("sub/own.toml").backbones[0].path == "weights/small"
    (tmp_path / "weights" / "small").mkdir(parents=True)
    assert load_profile("sub/own.toml").backbones[0].path == f"{tmp_path}/weights/small"


def holds_paths(annotation):
    return annotation in KINDS_OF_PATHS or any(map(holds_paths, get_args(annotation)))


def path_settings(section, place=""):
    """Names of the settings that are paths, by the types of the models."""
    for name, hint in section.__annotations__.items() if place else Profile.__annotations__.items():
        here = f"{place}.{name}".lstrip(".")
        if holds_paths(hint):
            yield f"{here}.*" if "dict" in str(hint) else here
        for each in sections_in(hint):
            rows = ".*" if str(hint).startswith("tuple") else ""
            for owner in each.__mro__:
                if issubclass(owner, Section) and owner is not Section:
                    yield from path_settings(owner, f"{here}{rows}")


def sections_in(hint):
    if isinstance(hint, type) and issubclass(hint, Section):
        return [hint]
    return [found for part in get_args(hint) for found in sections_in(part)]


def test_no_setting_that_is_a_path_is_forgotten():
    assert set(path_settings(Profile)) == set(PLACES)


def test_a_broken_value_is_left_for_the_profile_to_refuse(folder):
    (folder / "own.toml").write_text('extends = "smoke"\npool = 3\nbackbones = { path = 1 }\n')
    with pytest.raises(ValueError, match="pool"):
        load_profile(str(Path("sub", "own.toml")))
