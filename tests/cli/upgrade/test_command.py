"""The command: nothing changes unless it is told to, and copies come first."""

import shutil
import sqlite3
from contextlib import closing

import dagster as dg
import pytest
import typer
from rich.console import Console

from synpref_dagster.cli.campaign import PROCESS_TAG
from synpref_dagster.cli.instance import BARE_SETTINGS, INSTANCE_SETTINGS, open_instance
from synpref_dagster.cli.upgrade.command import upgrade_all
from synpref_dagster.judges.cache import CACHE_VERSION, ReplyCache
from synpref_dagster.storage.processes import process_name


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        open_instance().dispose()
    return folder


@pytest.fixture
def place(monkeypatch, tmp_path, new):
    """What an older version left: settings without limits, and a cache of replies."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.delenv("SYNPREF_REVIEW_LEDGER", raising=False)
    shutil.copytree(new, tmp_path / "home")
    (tmp_path / "home" / "dagster.yaml").write_text(BARE_SETTINGS)
    ReplyCache(tmp_path / "store" / "judge_replies.sqlite").close()
    set_version(tmp_path, 0)
    return tmp_path


def set_version(place, version):
    path = place / "store" / "judge_replies.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {version}")


def version(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def run(*, does_it):
    console = Console(record=True, width=1000)
    code = 0
    try:
        upgrade_all(console, "smoke", does_it=does_it)
    except typer.Exit as error:
        code = error.exit_code
    return code, console.export_text().splitlines()


def test_it_says_what_it_would_do_and_changes_nothing(place):
    code, lines = run(does_it=False)
    assert code == 0
    assert [line.split(":")[0] for line in lines[:2]] == [
        str(place / "home" / "dagster.yaml"),
        str(place / "store" / "judge_replies.sqlite"),
    ]
    assert lines[2].startswith("nothing was changed: `synpref upgrade --profile smoke --yes`")
    assert (place / "home" / "dagster.yaml").read_text() == BARE_SETTINGS
    assert version(place / "store" / "judge_replies.sqlite") == 0
    assert not list(place.rglob("*.before-*"))


def test_told_to_it_copies_everything_first_and_a_second_time_finds_nothing(place):
    code, lines = run(does_it=True)
    assert code == 0
    assert [line.split()[0] for line in lines[2:]] == ["copied", "copied", "done:", "done:"]
    assert (place / "home" / "dagster.yaml").read_text() == INSTANCE_SETTINGS
    assert version(place / "store" / "judge_replies.sqlite") == CACHE_VERSION
    [settings] = (place / "home").glob("dagster.yaml.before-*")
    [replies] = (place / "store").glob("judge_replies.sqlite.before-*")
    assert settings.read_text() == BARE_SETTINGS
    assert version(replies) == 0
    assert run(does_it=True) == (0, ["everything is of this version"])


def test_where_one_thing_hinders_nothing_is_changed(place):
    set_version(place, CACHE_VERSION + 1)
    code, lines = run(does_it=True)
    assert code == 2
    assert lines[-1] == "nothing was changed: first do by hand what is said above"
    assert (place / "home" / "dagster.yaml").read_text() == BARE_SETTINGS


def test_while_a_run_is_at_work_nothing_is_changed(place):
    with dg.DagsterInstance.from_config(str(place / "home")) as instance:
        run_id = instance.create_run_for_job(
            dg.JobDefinition(name="j", graph_def=dg.GraphDefinition(name="j")),
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: process_name()},
        ).run_id
    code, lines = run(does_it=True)
    assert code == 2
    assert lines[-1] == f"nothing was changed: run {run_id} is under way, end it first"
    assert (place / "home" / "dagster.yaml").read_text() == BARE_SETTINGS


def test_a_profile_that_is_not_there_is_refused(place):
    console = Console(record=True, width=1000)
    with pytest.raises(typer.Exit):
        upgrade_all(console, str(place / "none.toml"), does_it=False)
    assert "none.toml' does not exist" in console.export_text()


def broken(path):
    """The letters of a SQLite file behind its first 100 bytes, each another one."""
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(255 - each for each in content[100:]))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("store/judge_replies.sqlite", "the judges' reply cache"),
        ("home/history/runs.db", "Dagster's database"),
        ("home/history/runs/index.db", "Dagster's database"),
        ("home/schedules/schedules.db", "Dagster's database"),
        ("ledger.db", "the review ledger"),
        ("mlflow.db", "the MLflow database"),
    ],
)
@pytest.mark.parametrize("damage", [broken, lambda path: path.write_bytes(b"no database" * 500)])
def test_a_damaged_database_is_refused_in_one_line_with_what_to_do(
    place, monkeypatch, name, told, damage
):
    monkeypatch.setenv("SYNPREF_REVIEW_LEDGER", f"sqlite:///{place / 'ledger.db'}")
    path = place / name
    if not path.exists():
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE review_verdicts (seq INTEGER)")
    damage(path)
    code, [line] = run(does_it=True)
    assert code == 2
    assert line.startswith(f"nothing was changed: {told} {path} is damaged: ")
    assert "a copy" in line
    assert (place / "home" / "dagster.yaml").read_text() == BARE_SETTINGS


def test_a_cache_without_replies_is_left_to_its_next_use_and_one_of_others_is_refused(place):
    path = place / "store" / "judge_replies.sqlite"
    for statement, code, last in (
        (
            "CREATE TABLE spending (campaign TEXT)",
            0,
            "nothing was changed: `synpref upgrade --profile smoke --yes`",
        ),
        ("CREATE TABLE songs (title TEXT)", 2, "nothing was changed: first do by hand"),
    ):
        path.unlink()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        found, lines = run(does_it=False)
        assert found == code
        assert lines[-1].startswith(last)
        assert any("it is no reply cache" in line for line in lines) == bool(code)
