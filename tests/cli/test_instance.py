"""Dagster's instance: made whole on first use, and named when it cannot be used."""

import sqlite3
from errno import ENOSPC

import pytest

from synpref_dagster.cli import instance as made
from synpref_dagster.cli.instance import full_disks_told, open_instance
from synpref_dagster.cli.outcomes import CampaignFailedError


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_instance_is_made_on_first_use_and_kept(home):
    with open_instance() as instance:
        assert instance.is_persistent
        assert instance.get_runs_count() == 0
    assert (home / "dagster.yaml").read_text() == made.INSTANCE_SETTINGS
    seen = [each.name for each in home.iterdir() if not each.name.endswith(".lock")]
    assert sorted(seen) == ["dagster.yaml", "history", "schedules"]
    with open_instance() as again:
        assert again.get_runs_count() == 0


def test_settings_that_earlier_versions_wrote_are_ours_to_replace_others_are_not(home):
    """The earlier ones had no limits of pools."""
    home.mkdir()
    (home / "dagster.yaml").write_text(made.BARE_SETTINGS)
    with open_instance() as instance:
        assert instance.global_op_concurrency_default_limit == 1
    own = made.BARE_SETTINGS.replace("false", "true", 1)
    (home / "dagster.yaml").write_text(own)
    with open_instance() as instance:
        assert instance.global_op_concurrency_default_limit is None
    assert (home / "dagster.yaml").read_text() == own


def test_a_start_that_is_killed_leaves_nothing_half_made(home, monkeypatch):
    """At every step of the first start."""
    moved = made.put_in_place
    for step in range(3):
        seen = []

        def killed(part, target, seen=seen, step=step):
            if len(seen) == step:
                raise KeyboardInterrupt
            seen.append(target.name)
            moved(part, target)

        monkeypatch.setattr(made, "put_in_place", killed)
        if step < 2:
            with pytest.raises(KeyboardInterrupt):
                open_instance()
            assert not (home / "history").exists()
    monkeypatch.setattr(made, "put_in_place", moved)
    with open_instance() as instance:
        assert instance.get_runs_count() == 0
    assert not list(home.glob("*.part"))


def test_storage_of_ones_own_is_left_to_dagster(home, tmp_path):
    home.mkdir()
    place = tmp_path / "elsewhere"
    (home / "dagster.yaml").write_text(f"storage:\n  sqlite:\n    base_dir: {place}\n")
    with open_instance() as instance:
        assert instance.get_runs_count() == 0
    assert not (home / "history").exists()
    assert (place / "history").is_dir() or any(place.iterdir())


def refusal():
    with pytest.raises(CampaignFailedError) as caught:
        open_instance()
    lines = f"{caught.value}\n{caught.value.advice}".splitlines()
    assert len(lines) <= 3
    return " ".join(lines)


def test_a_damaged_history_is_named_in_three_lines(home):
    open_instance().dispose()
    (home / "history" / "runs.db").write_bytes(b"no database" * 400)
    said = refusal()
    assert f"the Dagster instance at {home} cannot be opened" in said
    assert "file is not a database" in said
    assert f"move {home / 'history'} away" in said


def test_a_history_with_two_heads_is_named(home):
    open_instance().dispose()
    with sqlite3.connect(home / "history" / "runs.db") as connection:
        connection.execute("INSERT INTO alembic_version VALUES ('7e2f3204cf8e')")
    assert f"the Dagster instance at {home} cannot be opened" in refusal()


@pytest.mark.parametrize("text", ["storage: [", "no_such_setting: 1", "- a list"])
def test_settings_that_are_none_are_named(home, text):
    home.mkdir()
    (home / "dagster.yaml").write_text(text)
    assert "Correct dagster.yaml there" in refusal()


def test_a_home_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file" / "home"))
    assert "nothing can be written to" in refusal()


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database or disk is full"),
        OSError(ENOSPC, "No space left on device"),
    ],
    ids=["full", "no space"],
)
def test_a_disk_that_takes_nothing_is_named_and_the_next_start_works(home, monkeypatch, error):
    def fail(instance):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(made, "_touch", fail)
        said = refusal()
    assert f"the Dagster instance at {home} cannot be written" in said
    assert "Free space on its disk" in said
    assert not (home / "history").exists()
    open_instance().dispose()


def test_settings_that_are_a_folder_are_named(home):
    (home / "dagster.yaml").mkdir(parents=True)
    said = refusal()
    assert "Is a directory" in said
    assert "Correct dagster.yaml there" in said


def test_a_file_in_the_place_of_the_history_is_named(home):
    home.mkdir()
    (home / "history").write_text("mine")
    assert f"move {home / 'history'} away" in refusal()
    assert (home / "history").read_text() == "mine"


@pytest.mark.parametrize(
    "error",
    [
        OSError(ENOSPC, "No space left on device", "/x/history/runs.db"),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_a_disk_that_fills_up_under_way_ends_a_campaign_in_a_line(error, monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(CampaignFailedError, match="cannot be written") as told, full_disks_told():
        raise RuntimeError("an event could not be kept") from error
    assert str(tmp_path) in str(told.value)
    assert told.value.advice.startswith("Free space on its disk.")


def test_other_errors_under_way_stay_what_they_are():
    for error in (CampaignFailedError("disk is full", advice="x"), KeyError("disk")):
        with pytest.raises(type(error)) as raised, full_disks_told():
            raise error
        assert raised.value is error
