"""`synpref tracking`: where MLflow is, what waits for it, and bringing that there."""

from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from synpref_dagster.cli.refusals import load_or_refuse, refuse, say
from synpref_dagster.settings.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synpref_dagster.resources.tracking.runs import MlflowTracking

tracking_app = typer.Typer(no_args_is_help=True, help="MLflow: where it is, what waits for it.")
console = Console()

ProfileOption = Annotated[str, typer.Option(help="Name of a profile, or a .toml file.")]
SeedOption = Annotated[int | None, typer.Option(help="Overrides the profile's seed.")]


@tracking_app.command()
def status(profile: ProfileOption = "demo", seed: SeedOption = None) -> None:
    """Print where a campaign's MLflow is and what waits for it; nobody is asked."""
    tracking = _tracking(load_or_refuse(console, profile, seed))
    _print(console, f"MLflow: {tracking.where()}")
    for line in unsent(tracking) or ["nothing waits for MLflow"]:
        _print(console, line)


@tracking_app.command()
def replay(profile: ProfileOption = "demo", seed: SeedOption = None) -> None:
    """Bring to MLflow what steps logged while it did not answer, in order and each once."""
    tracking = _tracking(load_or_refuse(console, profile, seed))
    try:
        num_sent = tracking.replay()
    except (ConnectionError, ValueError) as error:
        say(console, error)
        refuse(console, "\n".join(unsent(tracking)))
    _print(console, f"brought to MLflow: {num_sent:,}")
    for line in unsent(tracking):
        _print(console, line)


@contextmanager
def at_end_of_run(shown: Console, profile: Profile) -> "Iterator[None]":
    """However a run ends: brings what waits to MLflow if it answers, and says what waits still."""
    from synpref_dagster.storage.writers import StoreInUseError

    has_run = True
    try:
        yield
    except StoreInUseError:
        has_run = False
        raise
    finally:
        if has_run:
            _send_and_say(shown, _tracking(profile))


def _send_and_say(shown: Console, tracking: "MlflowTracking") -> None:
    # How the run ended is not hidden behind a store or a database that is away as well.
    with suppress(OSError, ValueError):
        tracking.replay()
    with suppress(OSError):
        for line in unsent(tracking) or [f"MLflow: {tracking.where()}"]:
            _print(shown, line)


def say_unsent(shown: Console, profile: Profile) -> None:
    """Say what MLflow does not have of a campaign, if anything."""
    for line in unsent(_tracking(profile)):
        _print(shown, line)


def unsent(tracking: "MlflowTracking") -> list[str]:
    """What MLflow does not have of a campaign, in words; nothing when it has all."""
    found, lines = tracking.waiting(), []
    if found.away:
        since = datetime.fromtimestamp(found.away.since, tz=UTC)
        lines.append(f"{found.away.why}, since {since:%Y-%m-%d %H:%M} UTC")
    if found.num_records:
        lines.append(
            f"{_records(found.num_records)} in {tracking.spool} for MLflow: the next step that "
            "reaches it sends them, or `synpref tracking replay`"
        )
    if found.num_refused:
        lines.append(
            f"MLflow would not take what lies in {tracking.spool}/refused, each with the reason: "
            f"{found.num_refused:,}"
        )
    return lines


def _records(number: int) -> str:
    return "1 record waits" if number == 1 else f"{number:,} records wait"


def _tracking(profile: Profile) -> "MlflowTracking":
    from synpref_dagster.definitions.build import build_resources

    tracking: MlflowTracking = build_resources(profile)["tracking"]
    return tracking


def _print(shown: Console, line: str) -> None:
    shown.print(line, markup=False, highlight=False, soft_wrap=True)
