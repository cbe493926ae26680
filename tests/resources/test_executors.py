"""Which executor a profile gets, without Ray running, or even installed."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors, opened_executor
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.shards import RaySettings, ShardSettings
from synpref_dagster.storage import InProcessExecutor, ProcessPoolShardExecutor
from synpref_dagster.storage.maps.ray import RayShardExecutor, Surroundings, WorkerNeeds

ROOT = Path(__file__).resolve().parents[2]
ON_GPUS = ShardSettings(
    executor="ray",
    workers=64,
    model_workers=8,
    ray=RaySettings(address="head:6379", cpus_per_worker=2, gpus_per_model_worker=0.5),
)


def shards_of(settings, store="/campaigns"):
    profile = load_profile("smoke").model_copy(update={"shards": settings})
    return Executors(campaign=Campaign(profile_json=profile.model_dump_json(), store_root=store))


def test_shards_are_worked_on_in_process_unless_told_otherwise():
    assert isinstance(shards_of(ShardSettings()).get(), InProcessExecutor)


def test_steps_that_hold_a_model_have_their_own_number_of_processes():
    shards = shards_of(ShardSettings(executor="processes", workers=6, model_workers=1))
    plain, with_model = shards.get(), shards.get(holds_model=True)
    assert isinstance(plain, ProcessPoolShardExecutor)
    assert (plain.max_workers, with_model.max_workers) == (6, 1)


def test_only_steps_that_hold_a_model_ask_for_gpus():
    shards = shards_of(ON_GPUS)
    plain, with_model = shards.get(), shards.get(holds_model=True)
    assert (plain.num_workers, plain.needs) == (64, WorkerNeeds(num_cpus=2, num_gpus=0))
    assert (with_model.num_workers, with_model.needs) == (8, WorkerNeeds(num_cpus=2, num_gpus=0.5))


def test_workers_have_to_see_a_local_store_but_not_an_object_store():
    assert shards_of(ON_GPUS).get().store == "/campaigns"
    assert shards_of(ON_GPUS, store="s3://bucket/campaigns").get().store is None


def test_nothing_is_connected_when_all_shards_are_finished():
    def connect():
        raise AssertionError("connected for nothing")

    assert list(RayShardExecutor(connect).run(str, [])) == []


def test_ray_needs_a_worker():
    with pytest.raises(ValueError, match="at least one worker, not 0"):
        RayShardExecutor(lambda: None, num_workers=0)


def test_definitions_load_without_ray_and_a_step_that_needs_it_says_what_to_install():
    program = (
        "import sys; sys.modules['ray'] = sys.modules['dagster_ray'] = None\n"
        "from synpref_dagster.definitions.build import build_defs\n"
        "from synpref_dagster.settings.profile import load_profile\n"
        "from synpref_dagster.settings.shards import ShardSettings\n"
        "profile = load_profile('smoke').model_copy(\n"
        "    update={'shards': ShardSettings(executor='ray')})\n"
        "executors = build_defs(profile).resources['executors']\n"
        "try:\n"
        "    list(executors.get().run(str, [1]))\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'synpref-dagster[ray]'" in run.stdout


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """The surroundings of a driver whose store lies below its working folder."""
    monkeypatch.chdir(tmp_path)
    return Surroundings.of_driver("store")


def test_a_worker_goes_to_the_driver_s_folder_and_finds_its_store(driver, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    driver.enter()
    assert Path.cwd() == tmp_path


def test_a_store_keeps_its_identity(driver):
    assert Surroundings.of_driver("store") == driver
    assert Surroundings.of_driver("another").store_id != driver.store_id


def test_a_node_without_the_store_is_refused(driver, monkeypatch, tmp_path):
    (tmp_path / "store" / ".store_id").unlink()
    with pytest.raises(ValueError, match=r"does not see the store 'store'.*s3://"):
        driver.enter()


def test_a_node_with_other_libraries_is_refused(driver):
    other = replace(driver, libraries={**driver.libraries, "pyarrow": "1.0"})
    with pytest.raises(ValueError, match=r"'pyarrow'.*the driver has \{'pyarrow': '1.0'\}"):
        other.enter()


def test_an_object_store_needs_no_shared_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    driver = Surroundings.of_driver(None)
    replace(driver, folder="/not/on/this/node").enter()
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_scoring_outside_a_campaign_gets_what_a_step_with_a_model_would(tmp_path):
    processes = ShardSettings(executor="processes", workers=6, model_workers=1)
    with opened_executor(processes, store=str(tmp_path)) as executor:
        assert isinstance(executor, ProcessPoolShardExecutor)
        assert executor.max_workers == 1
    with opened_executor(
        ON_GPUS, store=str(tmp_path)
    ) as executor:  # nobody is asked before a shard
        assert isinstance(executor, RayShardExecutor)
        assert executor.needs == WorkerNeeds(num_cpus=2, num_gpus=0.5)
        assert executor.store == str(tmp_path)
