"""MLflow's SQLite file: there whole or not at all, whoever starts first and is killed meanwhile."""

import glob
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from synpref_dagster.storage.atomic import make_once
from synpref_dagster.storage.private import make_private
from synpref_dagster.storage.processes import alone_beside, alone_with
from synpref_dagster.storage.sqlite_files import open_read_only, refuse_damaged

logger = logging.getLogger(__name__)

SQLITE = "sqlite:///"
STILL_SECONDS = 30  # after which nobody is making a file any more
REMEDY = (
    "Put back a copy, or move it away to begin a new one: figures of earlier runs are lost, "
    "results in the store stay"
)
OTHER_ARTIFACTS = "./mlruns"  # of MLflow's own default experiment, which nothing is logged to


def make_database(tracking_uri: str) -> None:
    """Makes all tables of an MLflow database in SQLite beside its place, and moves it there.

    MLflow makes its tables where they will be, one migration after the other: a start that is
    killed within these seconds left a file with which no later one could begin. Such a file, which
    nothing was ever logged to, is moved away.

    Args:
        tracking_uri: of any kind; only files of SQLite are made here.

    Raises:
        ValueError: the file cannot be made, is damaged or of a newer MLflow.
    """
    if not tracking_uri.startswith(SQLITE) or ":memory:" in tracking_uri:
        return
    path = Path(tracking_uri.removeprefix(SQLITE).partition("?")[0])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone_beside(path.with_name(f"{path.name}.half-made")):
            _move_half_made(path)
        make_once(path, _make)
        make_private(path)
    except Exception as error:
        raise ValueError(
            f"the MLflow database {path} cannot be made: {str(error).splitlines()[0]}. Free space "
            "or correct your rights there, or name another place in SYNPREF_MLFLOW_URI"
        ) from error
    refuse_damaged(path, what="the MLflow database", remedy=REMEDY)
    _refuse_newer(path)


@contextmanager
def alone_in(tracking_uri: str) -> Iterator[None]:
    """One process at a time where MLflow keeps its runs; a killed one holds up nobody.

    For a file: all that share it, whatever their users, containers and temporary folders are. For
    a server or a database on the network: those of this user on this machine.
    """
    if not tracking_uri.startswith(SQLITE) or ":memory:" in tracking_uri:
        with alone_with(tracking_uri):
            yield
        return
    path = Path(tracking_uri.removeprefix(SQLITE).partition("?")[0])
    with suppress(OSError):  # where it cannot be made, who opens the file says so
        path.parent.mkdir(parents=True, exist_ok=True)
    with alone_beside(path.with_name(f"{path.name}.steps")):
        yield


def _move_half_made(path: Path) -> None:
    waited = 0
    while path.exists() and _is_half_made(path):
        if time.time() - path.stat().st_mtime > STILL_SECONDS or waited > STILL_SECONDS:
            aside = path.with_name(f"{path.name}.half-made-{time.time():.0f}")
            path.replace(aside)
            logger.warning("%s was half made by a start that was killed: now %s", path, aside)
            return
        time.sleep(1)  # a server that was started by hand may be making it
        waited += 1


def _make(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    make_private(path)
    uri = f"{SQLITE}{path}"
    SqlAlchemyStore(uri, OTHER_ARTIFACTS).engine.dispose()
    SqlAlchemyStore._engine_map.pop(uri, None)  # another file may be made there later
    with closing(sqlite3.connect(path)) as connection:
        # What was written beside the file is taken into it: only the file is moved.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")


def _refuse_newer(path: Path) -> None:
    """Says in one line what MLflow says in many, or wrongly: it takes a newer file for an old one.

    A file of an older MLflow is left to it: its own advice, `mlflow db upgrade`, is right.
    """
    if unknown := _unknown(versions_in(path)):
        raise ValueError(
            f"the MLflow database {path} has version {', '.join(sorted(unknown))}, which the "
            "installed MLflow does not know: install the newer MLflow that wrote it, or name "
            "another file in SYNPREF_MLFLOW_URI"
        )


def versions_in(path: Path) -> set[str]:
    """Versions of a database's tables: one, or none where MLflow has to say what is wrong with it.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with open_read_only(path) as connection:
            return {
                each for (each,) in connection.execute("SELECT version_num FROM alembic_version")
            }
    except sqlite3.OperationalError:
        return set()  # in use, or without this table
    except sqlite3.DatabaseError as error:
        raise ValueError(f"the MLflow database {path} cannot be read: {error}. {REMEDY}") from error


def versions_known() -> list[str]:
    """Versions of tables that the installed MLflow knows, its own first."""
    import mlflow.store.db_migrations
    from alembic.script import ScriptDirectory

    folder = Path(mlflow.store.db_migrations.__path__[0])
    return [each.revision for each in ScriptDirectory(str(folder)).walk_revisions()]


def _unknown(found: set[str]) -> set[str]:
    """Those of the versions of a database that the installed MLflow has never had."""
    import mlflow.store.db_migrations

    folder = Path(mlflow.store.db_migrations.__path__[0])
    # Files are named after the version that they lead to; reading all of them takes longer.
    unknown = {
        each for each in found if not list(folder.glob(f"versions/{glob.escape(each)}_*.py"))
    }
    return unknown - {*versions_known()} if unknown else unknown


def _is_half_made(path: Path) -> bool:
    """Whether nothing is in a database, not even the experiment that MLflow begins with."""
    try:
        with open_read_only(path) as connection:
            names = connection.execute("SELECT name FROM sqlite_master").fetchall()
            known = {name for (name,) in names} & {"experiments", "runs", "registered_models"}
            return not any(
                connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall() for name in known
            )
    except sqlite3.Error:
        return False  # damaged, in use, or no database: MLflow says what
