"""Where shards are worked on: what a profile may say."""

from importlib.resources import files

import pytest
from pydantic import ValidationError

from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.shards import RaySettings, ShardSettings


def test_the_default_needs_nothing_installed():
    assert ShardSettings().executor == "in_process"
    assert load_profile("demo").shards == ShardSettings()


def test_ray_settings_without_ray_are_refused():
    with pytest.raises(ValidationError, match="ray is set, but executor is 'processes'"):
        ShardSettings(executor="processes", ray=RaySettings(address="auto"))


@pytest.mark.parametrize(
    "wrong",
    [{"workers": 0}, {"model_workers": 0}, {"executor": "slurm"}, {"ray": {"max_retries": -1}}],
)
def test_impossible_numbers_and_unknown_executors_are_refused(wrong):
    with pytest.raises(ValidationError):
        ShardSettings(**{"executor": "ray", **wrong})


def test_the_table_is_read_from_a_profile(tmp_path):
    packaged = files("synpref_dagster.settings") / "profiles" / "smoke.toml"
    path = tmp_path / "on_ray.toml"
    path.write_text(
        packaged.read_text()
        + "\n[shards]\nexecutor = 'ray'\nworkers = 3\n"
        + "[shards.ray]\naddress = 'auto'\ngpus_per_model_worker = 1.0\n"
    )
    shards = load_profile(str(path)).shards
    assert (shards.executor, shards.workers, shards.model_workers) == ("ray", 3, None)
    assert (shards.ray.address, shards.ray.gpus_per_model_worker) == ("auto", 1.0)
