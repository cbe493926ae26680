"""Pools have a limit however Dagster was started, and an owner's settings stay as they are."""

import logging
import sys

import dagster as dg
import pytest
from dagster._serdes import serialize_value

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.definitions.pools import (
    POOLS,
    heed_free_slots,
    limit_pools,
    limit_pools_here,
)


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def limits(instance):
    storage = instance.event_log_storage
    return {
        key: storage.get_concurrency_info(key).slot_count for key in storage.get_concurrency_keys()
    }


def warned(caplog):
    return [
        each.getMessage()
        for each in caplog.records
        if each.levelno == logging.WARNING and each.module == "pools"
    ]


def test_the_pools_are_those_that_assets_name():
    nodes = build_defs("smoke").resolve_asset_graph().asset_nodes
    assert {*POOLS} == set().union(*(node.pools or set() for node in nodes))


@pytest.mark.parametrize("is_empty", [False, True], ids=["no file", "an empty file"])
def test_an_instance_without_settings_gets_a_limit_once_and_another_choice_is_kept(
    home, caplog, is_empty
):
    if is_empty:  # Dagster's own advice
        (home / "dagster.yaml").touch()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert limit_pools(instance) == ["gpu", "judge_api"]
        assert limits(instance) == {"gpu": 1, "judge_api": 1}
        instance.event_log_storage.set_concurrency_slots("gpu", 4)
        assert limit_pools(instance) == []
        assert limits(instance) == {"gpu": 4, "judge_api": 1}
    assert warned(caplog) == []


def test_settings_without_limits_are_left_as_they_are_and_one_line_says_what_is_missing(
    home, caplog
):
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.event_log_storage.set_concurrency_slots("judge_api", 2)
        assert limit_pools(instance) == ["gpu"]
        assert limits(instance) == {"judge_api": 2}
    (line,) = warned(caplog)
    assert "\n" not in line
    assert "pools gpu have no limit" in line
    assert str(home / "dagster.yaml") in line
    assert line.endswith("dagster instance concurrency set gpu 1")


def test_a_default_limit_in_the_settings_is_enough(home, caplog):
    (home / "dagster.yaml").write_text("concurrency:\n  pools:\n    default_limit: 3\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert limit_pools(instance) == []
        assert limits(instance) == {}
    assert warned(caplog) == []


def test_a_code_server_limits_the_instance_that_it_was_started_for(home, monkeypatch):
    """`dagster dev` without DAGSTER_HOME names a temporary one on the command line only."""
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.chdir(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        told = serialize_value(instance.get_ref())
        monkeypatch.setattr(sys, "argv", ["dagster", "--instance-ref", told, "-m", "definitions"])
        limit_pools_here()
        assert limits(instance) == {"gpu": 1, "judge_api": 1}


def test_loading_makes_no_instance_and_is_stopped_by_none(home, monkeypatch, caplog):
    limit_pools_here()
    assert list(home.iterdir()) == []
    monkeypatch.setattr(sys, "argv", ["dagster", "--instance-ref", "none", "-m", "definitions"])
    limit_pools_here()
    assert "whether pools are limited is not known" in warned(caplog)[0]


def test_two_trainings_of_two_runs_never_overlap(home):
    @dg.op(pool="gpu")
    def train():
        return 1

    @dg.job(executor_def=dg.in_process_executor)
    def one():
        train()

    with dg.DagsterInstance.from_config(str(home)) as instance:
        limit_pools(instance)
        storage = instance.event_log_storage
        assert storage.claim_concurrency_slot("gpu", "another run", "train").is_claimed
        assert not storage.claim_concurrency_slot("gpu", "one more run", "train").is_claimed
        storage.free_concurrency_slots_for_run("another run")
        storage.free_concurrency_slots_for_run("one more run")
        assert one.execute_in_process(instance=instance).success
        assert storage.get_concurrency_info("gpu").active_slot_count == 0


def test_a_step_that_got_in_line_too_late_is_given_the_free_slot(home):
    """Its slot was given back after it had looked and before it stood in line: nobody calls it."""
    heed_free_slots()
    heed_free_slots()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        limit_pools(instance)
        storage = instance.event_log_storage
        late = [("gpu", run, "train") for run in ("one run", "another run")]
        for step in late:
            storage.add_pending_step(*step, should_assign=False)

        def who_works():  # every run looks twice, as a waiting one does again and again
            for _ in range(2):
                found = [step for step in late if storage.claim_concurrency_slot(*step).is_claimed]
            return found

        [first] = who_works()
        storage.free_concurrency_slots_for_run(first[1])
        late.remove(first)
        assert who_works() == late
        assert storage.get_concurrency_info("gpu").active_slot_count == 1


@pytest.mark.parametrize("start", ["run", "instance"])
def test_every_start_heeds_free_slots(home, monkeypatch, start):
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    plain = SqlEventLogStorage.claim_concurrency_slot
    monkeypatch.setattr(
        SqlEventLogStorage, "claim_concurrency_slot", getattr(plain, "__wrapped__", plain)
    )
    if start == "run":
        build_defs("smoke")
    else:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            limit_pools(instance)
    assert hasattr(SqlEventLogStorage.claim_concurrency_slot, "__wrapped__")
