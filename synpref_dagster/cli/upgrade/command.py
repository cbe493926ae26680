"""The command: says what would change, or copies what it changes and does it."""

import os
import shlex
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import typer
from rich.console import Console

from synpref_dagster.cli.campaign import PROCESS_TAG, RUNNING
from synpref_dagster.cli.instance import DEFAULT_HOME, HISTORY, SETTINGS_FILE, names_storage
from synpref_dagster.cli.refusals import refuse, say
from synpref_dagster.cli.upgrade.changes import Change, copy_beside
from synpref_dagster.cli.upgrade.databases import (
    instance_changes,
    ledger_changes,
    reply_changes,
    tracking_changes,
)
from synpref_dagster.cli.upgrade.profiles import profile_changes
from synpref_dagster.cli.upgrade.results import result_changes
from synpref_dagster.people.page.serving import ledger_url
from synpref_dagster.settings.profile import Profile, load_profile, mlflow_uri
from synpref_dagster.storage.processes import is_gone

STAMP = "%Y%m%d-%H%M%S"


def upgrade_all(console: Console, name: str, *, does_it: bool) -> None:
    """Bring everything that a profile's campaigns use to this version.

    Args:
        console: where it is said.
        name: profile or path of one.
        does_it: whether to do it; else it is only said.
    """
    from sqlalchemy.exc import SQLAlchemyError

    home = Path(os.environ.get("DAGSTER_HOME") or DEFAULT_HOME).resolve()
    try:
        found = [*_changes(name, home)]
    except (ValueError, OSError, dg.DagsterError, sqlite3.Error, SQLAlchemyError) as error:
        refuse(console, f"nothing was changed: {_in_one_line(error)}")
    if not found:
        _say(console, "everything is of this version")
        return
    for change in found:
        _say(console, f"{change.place}: {change.says}")
        if change.loses:
            _say(console, f"  lost: {change.loses}")
    if any(each.is_hindrance for each in found):
        refuse(console, "nothing was changed: first do by hand what is said above")
    todo = [each for each in found if each.act]
    if not todo:
        _say(console, "nothing else is to be done")
    elif does_it:
        _do(console, todo, home)
    else:
        again = f"synpref upgrade --profile {shlex.quote(name)} --yes"
        _say(console, f"nothing was changed: `{again}` copies these files and does it")


def _changes(name: str, home: Path) -> Iterator[Change]:
    changed = profile_changes(name)
    yield from changed
    yield from instance_changes(home)
    yield from tracking_changes(mlflow_uri())
    if changed:  # the rest is known once the profile is one
        return
    profile = load_profile(name)
    yield from ledger_changes(profile.people.ledger_url or ledger_url())
    yield from reply_changes(profile.judges.cache_path())
    yield from _results(profile, home)


def _results(profile: Profile, home: Path) -> Iterator[Change]:
    if not _has_history(home):
        yield from result_changes(profile, None)
        return
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield from result_changes(profile, instance)


def _do(console: Console, todo: Sequence[Change], home: Path) -> None:
    if under_way := _under_way(home):
        refuse(console, f"nothing was changed: run {under_way} is under way, end it first")
    stamp = time.strftime(STAMP)
    try:
        for change in todo:
            for path in change.copied:
                _say(console, f"copied to {copy_beside(path, stamp=stamp)}")
        for change in todo:
            if change.act:
                change.act()
            _say(console, f"done: {change.place}")
    except Exception as error:
        say(console, f"{change.place} could not be changed: {_in_one_line(error)}")
        say(console, "what is not said to be done is as it was, or in the copies named above")
        raise typer.Exit(2) from error


def _in_one_line(error: Exception) -> str:
    """What a driver says, without the query that it was busy with."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _under_way(home: Path) -> str | None:
    """A run that is at work; those of processes that were killed are not."""
    if not _has_history(home):
        return None
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=RUNNING)):
            if not is_gone(run.tags.get(PROCESS_TAG, "")):
                return run.run_id
    return None


def _has_history(home: Path) -> bool:
    settings = home / SETTINGS_FILE
    return (home / HISTORY).is_dir() or (settings.is_file() and names_storage(settings))


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
