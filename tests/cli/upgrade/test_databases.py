"""Databases of older versions, made by undoing what later ones added; newer ones stay untouched."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from alembic import command
from mlflow.store.db.utils import _get_alembic_config

from synpref_dagster.cli.instance import BARE_SETTINGS, INSTANCE_SETTINGS
from synpref_dagster.cli.upgrade.databases import (
    instance_changes,
    ledger_changes,
    reply_changes,
    tracking_changes,
)
from synpref_dagster.judges.cache import CACHE_VERSION, TABLES, ReplyCache
from synpref_dagster.people.ledger import database
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.resources.tracking.database import make_database, versions_in, versions_known

BEFORE_DEFAULT_LIMITS = "6b7fb194ff9c"


def query(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        return [connection.execute(each).fetchall() for each in statements][-1]


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """An instance and a database of MLflow as they are made today."""
    folder = tmp_path_factory.mktemp("new")
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text(INSTANCE_SETTINGS)
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        instance.all_asset_keys()
        instance.all_instigator_state()
    make_database(f"sqlite:///{folder / 'mlflow.db'}")
    return folder


@pytest.fixture
def home(new, tmp_path):
    return shutil.copytree(new / "home", tmp_path / "home")


@pytest.fixture
def mlflow(new, tmp_path):
    return Path(shutil.copy(new / "mlflow.db", tmp_path))


def test_what_is_of_this_version_needs_nothing(home, mlflow, tmp_path):
    ReviewDatabase(f"sqlite:///{tmp_path / 'ledger.sqlite'}").close()
    ReplyCache(tmp_path / "replies.sqlite").close()
    assert [*instance_changes(home)] == []
    assert [*tracking_changes(f"sqlite:///{mlflow}")] == []
    assert [*ledger_changes(f"sqlite:///{tmp_path / 'ledger.sqlite'}")] == []
    assert [*reply_changes(tmp_path / "replies.sqlite")] == []


def test_what_is_not_there_is_not_made(tmp_path):
    place = tmp_path / "none"
    for changes in (
        instance_changes(place),
        tracking_changes(f"sqlite:///{place}"),
        tracking_changes("http://127.0.0.1:5000"),
        ledger_changes(f"sqlite:///{place}"),
        reply_changes(place),
    ):
        assert [*changes] == []
    assert not place.exists()


def test_bare_settings_of_earlier_versions_become_todays(home):
    (home / "dagster.yaml").write_text(BARE_SETTINGS)
    [change] = instance_changes(home)
    assert change.copied == (home / "dagster.yaml",)
    change.act()
    assert (home / "dagster.yaml").read_text() == INSTANCE_SETTINGS


def age_instance(home):
    """Before pools had a default limit."""
    for path in (home / "history" / "runs" / "index.db", home / "history" / "runs.db"):
        query(path, f"UPDATE alembic_version SET version_num = '{BEFORE_DEFAULT_LIMITS}'")
    query(
        home / "history" / "runs" / "index.db",
        "ALTER TABLE concurrency_limits DROP COLUMN using_default_limit",
    )


def test_an_instance_of_an_older_dagster_gets_todays_tables(home):
    age_instance(home)
    [change] = instance_changes(home)
    assert f"from version {BEFORE_DEFAULT_LIMITS}" in change.says
    assert change.copied == (home / "history", home / "schedules")
    change.act()
    assert [*instance_changes(home)] == []
    columns = query(home / "history" / "runs" / "index.db", "PRAGMA table_info(concurrency_limits)")
    assert "using_default_limit" in [column[1] for column in columns]


def test_an_instance_of_a_newer_dagster_is_left_alone(home):
    query(home / "history" / "runs.db", "UPDATE alembic_version SET version_num = 'ffff00000000'")
    [change] = instance_changes(home)
    assert change.is_hindrance
    assert "ffff00000000" in change.says
    assert change.act is None


def test_mlflow_of_an_older_version_keeps_its_runs_and_gets_todays_tables(mlflow):
    query(mlflow, "INSERT INTO experiments (name, lifecycle_stage) VALUES ('kept', 'active')")
    config = _get_alembic_config(f"sqlite:///{mlflow}")
    engine = sa.create_engine(f"sqlite:///{mlflow}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-2")
    engine.dispose()
    [change] = tracking_changes(f"sqlite:///{mlflow}")
    assert f"from version {versions_known()[2]} to {versions_known()[0]}" in change.says
    change.act()
    assert versions_in(mlflow) == {versions_known()[0]}
    assert ("kept",) in query(mlflow, "SELECT name FROM experiments")


def test_mlflow_of_a_newer_version_is_left_alone(mlflow):
    query(mlflow, "UPDATE alembic_version SET version_num = 'ffff00000000'")
    [change] = tracking_changes(f"sqlite:///{mlflow}")
    assert change.is_hindrance


def test_a_ledger_with_other_columns_is_named_and_not_touched(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    store = ReviewDatabase(url)
    store.append(database.keys, [{"name": "session", "value": "secret"}])
    store.close()
    path = tmp_path / "ledger.sqlite"
    query(path, "ALTER TABLE review_verdicts DROP COLUMN tools")
    query(path, "ALTER TABLE review_keys ADD COLUMN colour TEXT")
    lacks, knows_more = ledger_changes(url)
    assert "it lacks review_verdicts.tools" in lacks.says
    assert "it has review_keys.colour" in knows_more.says
    assert lacks.is_hindrance
    assert knows_more.is_hindrance
    assert query(path, "SELECT name, value FROM review_keys") == [("session", "secret")]


def test_a_ledger_that_lacks_a_whole_table_gets_it_when_it_is_opened(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    ReviewDatabase(url).close()
    query(tmp_path / "ledger.sqlite", "DROP TABLE review_assignments")
    assert [*ledger_changes(url)] == []


FIRST_TABLES = TABLES.split("CREATE TABLE IF NOT EXISTS reservations")[0]
REPLY = (
    "INSERT INTO replies VALUES ('{key}', 'c', 'a', 'j', 'http://h', 'm', 'p', 0, 'text', "
    "'{reason}', 'json', 0, 1, 1, {usd}, 0.1, 0.0)"
)


def test_errors_that_an_old_cache_kept_as_replies_are_counted_and_asked_again(tmp_path):
    """The tables of the first version: no money was set aside, no field was renamed."""
    path = tmp_path / "replies.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_TABLES)
    query(
        path,
        REPLY.format(key="k1", reason="stop", usd=0.25),
        REPLY.format(key="k2", reason="network_error", usd=0.5),
    )
    [change] = reply_changes(path)
    assert change.says == f"goes from version 0 to {CACHE_VERSION}"
    assert change.loses == "1 errors that were kept as replies are asked again (they cost $0.50)"
    change.act()
    assert query(path, "SELECT key FROM replies") == [("k1",)]
    assert [*reply_changes(path)] == []


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%41b"])
def test_a_cache_with_signs_of_addresses_in_its_path_is_found(tmp_path, name):
    path = tmp_path / name
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_TABLES)
    [change] = reply_changes(path)
    assert change.says == f"goes from version 0 to {CACHE_VERSION}"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_cache_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "replies.sqlite"
    ReplyCache(path).close()
    query(path, f"PRAGMA user_version = {CACHE_VERSION + 1}")
    [change] = reply_changes(path)
    assert change.is_hindrance
