"""Databases of an older version: Dagster's instance, MLflow, the review ledger, judges' replies."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import dagster as dg

from synpref_dagster.cli.instance import (
    BARE_SETTINGS,
    HISTORY,
    SETTINGS_FILE,
    make_settings,
    names_storage,
)
from synpref_dagster.cli.upgrade.changes import Change
from synpref_dagster.resources.tracking.database import REMEDY, SQLITE, versions_in, versions_known
from synpref_dagster.settings.secrets import kept
from synpref_dagster.storage.sqlite_files import open_read_only, refuse_damaged

SCHEDULES = "schedules"
HISTORY_LOST = (
    "Put a copy of it back, or move {} away: the history of runs is lost, results in the store stay"
)
SERVER = "; copy the server's database first"


def instance_changes(home: Path) -> Iterator[Change]:
    """Dagster's instance: settings that had no limits of pools, tables of an older Dagster.

    Args:
        home: its folder; nothing is made where there is none.
    """
    settings = home / SETTINGS_FILE
    if settings.is_file() and settings.read_bytes() == BARE_SETTINGS.encode():
        yield Change(
            place=str(settings),
            says="limits of pools and the watch over dead runs enter it",
            act=partial(make_settings, settings),
            copied=(settings,),
        )
    if not (home / HISTORY).is_dir() and not (settings.is_file() and names_storage(settings)):
        return
    for file in (each for name in (HISTORY, SCHEDULES) for each in _databases(home / name)):
        refuse_damaged(file, what="Dagster's database", remedy=HISTORY_LOST.format(file.parent))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
        versions = {each.alembic_version() for each in storages if each is not None}
    old = sorted({each[0] or "none" for each in versions if each and each[0] != each[1]})
    if not old:
        return
    unknown = {*old} - {*_dagster_versions()} - {"none"}
    if unknown:
        yield Change(
            place=str(home),
            says=f"its tables have version {', '.join(sorted(unknown))}, which the installed "
            "Dagster does not know: install the newer Dagster that wrote them",
            is_hindrance=True,
        )
        return
    folders = tuple(home / each for each in (HISTORY, SCHEDULES) if (home / each).is_dir())
    yield Change(
        place=str(home),
        says=f"its tables go from version {', '.join(old)} to that of Dagster {dg.__version__}, as "
        f"`dagster instance migrate` does{'' if folders else SERVER}",
        act=partial(_migrate_instance, home),
        copied=folders,
    )


def tracking_changes(uri: str) -> Iterator[Change]:
    """MLflow's database: tables of an older MLflow.

    Args:
        uri: where MLflow keeps its runs; a server brings its own database forward.
    """
    if not uri.startswith(SQLITE):
        return
    path = Path(uri.removeprefix(SQLITE).partition("?")[0])
    refuse_damaged(path, what="the MLflow database", remedy=REMEDY)
    if not path.is_file() or not (versions := versions_in(path)):
        return
    known, found = versions_known(), ", ".join(sorted(versions))
    if not versions <= {*known}:
        yield Change(
            place=str(path),
            says=f"it has version {found}, which the installed MLflow does not know: install the "
            "newer MLflow that wrote it",
            is_hindrance=True,
        )
    elif found != known[0]:
        yield Change(
            place=str(path),
            says=f"its tables go from version {found} to {known[0]}, as `mlflow db upgrade` does",
            act=partial(_migrate_tracking, uri),
            copied=(path,),
        )


def ledger_changes(url: str) -> Iterator[Change]:
    """The review ledger: columns that this version does not find, or does not know.

    Its tables never changed their form so far, and tables that are not there are made at its next
    use. What people answered is never changed by an upgrade.

    Args:
        url: `sqlite:///...` or `postgresql://...`.
    """
    path = Path(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and not path.is_file():
        return
    from synpref_dagster.people.ledger.database import REMEDY as LEDGER_REMEDY, other_columns

    if url.startswith(SQLITE):
        refuse_damaged(path, what="the review ledger", remedy=LEDGER_REMEDY)
    missing, unknown = other_columns(url)
    shown = str(path) if url.startswith(SQLITE) else kept(url)
    for names, says in (
        (missing, "it lacks {}: open it with the version that wrote it, and carry the answers over "
         "with `synpref review export` and `import`"),
        (unknown, "it has {}, which this version does not know: install the newer version that "
         "wrote it"),
    ):  # fmt: skip
        if names:
            yield Change(place=shown, says=says.format(", ".join(names)), is_hindrance=True)


def reply_changes(path: Path) -> Iterator[Change]:
    """The cache of judges' replies: what was kept as a reply and is none.

    Args:
        path: its file; nothing is made where there is none.
    """
    if not path.is_file():
        return
    from synpref_dagster.judges.cache import BOUGHT_AGAIN, CACHE_VERSION, OWN_TABLES, ReplyCache
    from synpref_dagster.judges.requests import BROKEN_OFF

    refuse_damaged(path, what="the judges' reply cache", remedy=BOUGHT_AGAIN)
    with open_read_only(path) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = {str(name) for (name,) in connection.execute(query)}
        if tables and not tables & OWN_TABLES:
            says = "it is no reply cache, for it holds tables of something else: name another file"
            yield Change(place=str(path), says=f"{says} in judges.cache", is_hindrance=True)
        if "replies" not in tables:  # its making was killed; its next use completes it
            return
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version == CACHE_VERSION:
            return
        marks = ",".join("?" * len(BROKEN_OFF))
        num_errors, usd = connection.execute(
            "SELECT COUNT(*), COALESCE(SUM(usd), 0) FROM replies "
            f"WHERE lower(finish_reason) IN ({marks})",
            sorted(BROKEN_OFF),
        ).fetchone()
    if version > CACHE_VERSION:
        says = "it is of a newer version than this one: install that one"
        yield Change(place=str(path), says=says, is_hindrance=True)
        return
    loses = f"{num_errors} errors that were kept as replies are asked again (they cost ${usd:.2f})"
    yield Change(
        place=str(path),
        says=f"goes from version {version} to {CACHE_VERSION}",
        loses=loses if num_errors else "",
        act=lambda: ReplyCache(path).close(),
        copied=(path,),
    )


def _databases(folder: Path) -> list[Path]:
    """Those that Dagster opens at once; one of each run lies beside `index.db`."""
    return [*sorted(folder.glob("*.db")), *folder.glob("runs/index.db")]


def _migrate_instance(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.upgrade()


def _migrate_tracking(uri: str) -> None:
    from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(uri)
    try:
        _upgrade_db(engine)
    finally:
        engine.dispose()


def _dagster_versions() -> Iterable[str]:
    """Versions of tables that the installed Dagster knows."""
    import dagster._core.storage.alembic as migrations
    from alembic.script import ScriptDirectory

    folder = Path(next(iter(migrations.__path__)))
    return [each.revision for each in ScriptDirectory(str(folder)).walk_revisions()]
