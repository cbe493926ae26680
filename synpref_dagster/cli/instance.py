"""Dagster's instance: made whole on first use, and what is said when it is broken."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path

import dagster as dg
import yaml

from synpref_dagster.cli.outcomes import CampaignFailedError, CampaignWaitingError
from synpref_dagster.definitions.pools import limit_pools
from synpref_dagster.settings.secrets import redacted
from synpref_dagster.storage.atomic import beside, make_once, put_in_place, remove
from synpref_dagster.storage.private import make_private_folder, narrow_databases
from synpref_dagster.storage.processes import alone_beside
from synpref_dagster.storage.sqlite_files import refuse_damaged

DEFAULT_HOME = ".dagster_home"
INSTANCE_SETTINGS = Path(__file__).with_name("dagster.yaml").read_text(encoding="utf-8")
BARE_SETTINGS = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
"""What earlier versions wrote: without limits of pools, and with nothing of the owner's in it."""
SETTINGS_FILE = "dagster.yaml"
STORAGE_SETTINGS = {"storage", "run_storage", "event_log_storage", "schedule_storage"}
HISTORY = "history"  # folder of runs and events; put in place last
SCHEDULES = "schedules"  # folder of what schedules and sensors remember
STORAGE = "storage"  # names the lock of making it, and where it is made
WRITABLE = "Set DAGSTER_HOME and SYNPREF_STORE to folders that you may write to."
WRITE_ERRNOS = {ENOSPC, EDQUOT, EACCES, EPERM, EROFS}
WRITE_WORDS = (
    "disk is full",
    "readonly database",
    "disk I/O error",
    "unable to open database file",
)
MAX_SAID = 300  # characters of an error


def open_instance() -> dg.DagsterInstance:
    """The Dagster instance of `DAGSTER_HOME`, by default `.dagster_home`, made on first use.

    Its tables are made beside their place and moved there, by one process: two first starts at
    once both work, and one that is killed leaves nothing half made.

    Raises:
        CampaignFailedError: nothing can be written there, or what is there cannot be used.
    """
    home = home_of_dagster()
    try:
        make_private_folder(home)
        make_settings(home / SETTINGS_FILE)
    except OSError as error:
        raise CampaignFailedError(
            f"nothing can be written to {home}: {error.strerror}", advice=WRITABLE
        ) from error
    try:
        for file in sorted((home / HISTORY).glob("*.db")):
            refuse_damaged(file, what="its database", remedy="")
        _make_storage(home)
        # Custom storage makes its tables now: one process after the other.
        with alone_beside(home / STORAGE):
            instance = dg.DagsterInstance.from_config(str(home))
            _touch(instance)
            limit_pools(instance)
        narrow_history(home)
    except Exception as error:
        if _is_about_writing(error):
            raise _unwritable(home, error) from error
        raise CampaignFailedError(
            f"the Dagster instance at {home} cannot be opened: {_said(error)}",
            advice=f"Correct {SETTINGS_FILE} there when that is named. When its files are damaged "
            f"or of another Dagster, move {home / HISTORY} away or set DAGSTER_HOME to another "
            "folder: the history of runs is lost, results in the store stay and are found again.",
        ) from error
    return instance


def home_of_dagster() -> Path:
    """`DAGSTER_HOME`, by default `.dagster_home`."""
    return Path(os.environ.get("DAGSTER_HOME") or DEFAULT_HOME).resolve()


@contextmanager
def full_disks_told() -> Iterator[None]:
    """An instance that cannot be written any more ends a campaign as it would end its start.

    Raises:
        CampaignFailedError: Dagster could not write down what happens.
    """
    try:
        yield
    except (CampaignFailedError, CampaignWaitingError):
        raise
    except Exception as error:
        if not _is_about_writing(error):
            raise
        raise _unwritable(home_of_dagster(), error) from error


def _unwritable(home: Path, error: Exception) -> CampaignFailedError:
    return CampaignFailedError(
        f"the Dagster instance at {home} cannot be written: {_said(error)}",
        advice=f"Free space on its disk. {WRITABLE}",
    )


def narrow_history(home: Path) -> None:
    """Dagster makes its databases as wide as the umask allows, one for each run."""
    for name in (HISTORY, SCHEDULES):
        narrow_databases(home / name)


def make_settings(settings: Path) -> None:
    """Ours where there are none; settings of the owner's stay as they are."""
    make_once(settings, lambda part: _write(part, INSTANCE_SETTINGS))
    if not settings.is_file() or settings.stat().st_size != len(BARE_SETTINGS):
        return
    with alone_beside(settings):
        if settings.read_bytes() == BARE_SETTINGS.encode():
            part = beside(settings)
            _write(part, INSTANCE_SETTINGS)
            put_in_place(part, settings)


def _make_storage(home: Path) -> None:
    """Dagster's own SQLite files, unless the settings name another storage or they are there."""
    if (home / HISTORY).exists() or names_storage(home / SETTINGS_FILE):
        return
    with alone_beside(home / STORAGE):
        if (home / HISTORY).exists():
            return
        part = beside(home / STORAGE)
        part.mkdir()
        _write(part / SETTINGS_FILE, INSTANCE_SETTINGS)
        with dg.DagsterInstance.from_config(str(part)) as instance:
            _touch(instance)
        for made in sorted(part.iterdir(), key=lambda each: each.name == HISTORY):
            if made.is_dir() and (made.name == HISTORY or not (home / made.name).exists()):
                put_in_place(made, home / made.name)
        remove(part)


def _touch(instance: dg.DagsterInstance) -> None:
    """Ask every storage something: each makes or opens its tables at its first use."""
    instance.get_runs_count()
    instance.all_asset_keys()
    instance.all_instigator_state()


def names_storage(settings: Path) -> bool:
    """Whether settings name another storage than Dagster's own files, or cannot be read."""
    try:
        found = yaml.safe_load(settings.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return True  # Dagster says what is wrong with it
    return isinstance(found, dict) and bool(STORAGE_SETTINGS & set(found))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _is_about_writing(error: BaseException) -> bool:
    """Whether the disk or the rights are to blame, not what is in the files."""
    cause = _first_cause(error)
    if isinstance(cause, OSError):
        return cause.errno in WRITE_ERRNOS and SETTINGS_FILE not in str(cause.filename)
    return any(words in str(cause) for words in WRITE_WORDS)


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _said(error: BaseException) -> str:
    """The first cause in one line."""
    cause = _first_cause(error)
    return f"{type(cause).__name__}: {' '.join(redacted(str(cause)).split())}"[:MAX_SAID]
