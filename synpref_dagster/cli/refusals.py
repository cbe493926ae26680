"""How a command is told its profile, and what it says when it refuses: the error, and code 2."""

import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from synpref_dagster.settings.embedding import KINDS, EndpointEmbedding
from synpref_dagster.settings.judges import JudgeEndpoint
from synpref_dagster.settings.models import TAGS
from synpref_dagster.settings.profile import Profile, load_profile, packaged_profiles
from synpref_dagster.settings.secrets import redacted

ProfileOption = Annotated[
    str, typer.Option(help=f"One of {', '.join(packaged_profiles())}, or the path of a .toml file.")
]
SeedOption = Annotated[int | None, typer.Option(help="Overrides the profile's seed.")]
_GIVEN: dict[str, str] = {}  # campaign -> how this command's profile and seed were given


def say(console: Console, why: object) -> None:
    """Print an error in red; square brackets in it are text, e.g. `[[judges.endpoints]]`."""
    console.print(redacted(str(why)), style="red", markup=False, highlight=False, soft_wrap=True)


def refuse(console: Console, why: object) -> NoReturn:
    """Print why a command cannot do what was asked, and end it."""
    say(console, why)
    raise typer.Exit(2)


def as_given(profile: Profile) -> str:
    """What stands behind --profile in a command that people can repeat: as they gave it."""
    return _GIVEN.get(profile.campaign_name(), profile.name)


def load_or_refuse(console: Console, name: str, seed: int | None) -> Profile:
    """The profile that was asked for, or a refusal that names what is wrong in it."""
    try:
        found = load_profile(name, seed=seed)
        told = [shlex.quote(name), *(["--seed", str(seed)] if seed is not None else [])]
        _GIVEN[found.campaign_name()] = " ".join(told)
        return found
    except ValidationError as error:
        refuse(console, "\n".join([f"profile {name}:", *problems(error)]))
    except tomllib.TOMLDecodeError as error:
        refuse(console, f"profile {name}: {error}")
    except ValueError as error:
        refuse(console, error)


def problems(error: ValidationError) -> list[str]:
    """One line per problem of a profile: where it is, and what it is."""
    return [
        f"  {_place(each['loc'])}: {each['msg'].removeprefix('Value error, ')}"
        for each in error.errors(include_url=False)
    ]


def refuse_missing_keys(console: Console, profile: Profile) -> None:
    """End the command when a judge that has never replied has no key: no step is paid for half.

    Of a judge whose replies are in the cache all may be there, and then no key is needed.
    """
    asked = list(profile.judges.endpoints) if profile.judges.kind == "endpoints" else []
    if isinstance(profile.embedding, EndpointEmbedding):
        asked.append(profile.embedding.as_judge())
    if not asked:
        return
    from synpref_dagster.judges.calls import api_key

    missing, unheard = [], []
    for endpoint in asked:
        try:
            api_key(endpoint)
        except ValueError as error:
            missing.append(str(error))
            try:
                is_unheard = not _has_replied(profile, endpoint)
            except (ValueError, OSError) as unusable:
                refuse(console, unusable)
            if is_unheard:
                unheard.append(str(error))
    if unheard:
        refuse(console, "\n".join(unheard))
    for problem in missing:
        console.print(
            f"{problem}; replies in the cache are used, and the run stops where one is missing",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def refuse_missing_backbones(console: Console, profile: Profile) -> None:
    """End the command when a backbone's folder is not there: judges are asked before it is read.

    A name like `owner/name` may be one on the hub, unless `owner` is a folder here.
    """
    from synpref_dagster.preview.backbones import missing_backbones

    if missing := missing_backbones(profile):
        refuse(console, "\n".join(missing))


def refuse_missing_on_hub(console: Console, profile: Profile, sizes: Sequence[str]) -> None:
    """End the command when the hub, or something of this campaign on it, cannot be had.

    Args:
        console: where to say so.
        profile: of the campaign.
        sizes: that will be released.
    """
    from synpref_dagster.preview.hub import missing_on_hub

    if missing := missing_on_hub(profile, sizes):
        refuse(console, "\n".join(missing))


def refuse_unfit_backbones(console: Console, profile: Profile, sizes: Sequence[str]) -> None:
    """End the command when a local backbone cannot be started from, one line for each.

    Args:
        console: where it is said.
        profile: whose backbones.
        sizes: that will be released.
    """
    from synpref_dagster.reward.from_profile import backbones_read, refuse_unfit_start

    unfit = []
    for row in backbones_read(profile, sizes):
        if Path(row.hub_id).is_dir():
            try:
                refuse_unfit_start(row)
            except ValueError as error:
                unfit.append(f"backbone {row.model_size}: {error}")
    if unfit:
        refuse(console, "\n".join(unfit))


def _has_replied(profile: Profile, endpoint: JudgeEndpoint) -> bool:
    from synpref_dagster.judges.cache import ReplyCache

    path = profile.judges.cache_path()
    if not path.is_file():
        return False
    cache = ReplyCache(path)
    try:
        return cache.knows(endpoint.base_url, endpoint.model)
    finally:
        cache.close()


def _place(parts: tuple[int | str, ...]) -> str:
    """`pool.sources[0].origin`; a rule about the whole profile has no place of its own.

    Of a union pydantic also names the member, `release.hub.loss`: no such table is in a profile.
    """
    told = [
        part
        for before, part in zip(("", *parts), parts, strict=False)
        if part not in {**TAGS, "embedding": KINDS}.get(str(before), ())
    ]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in told)
    return text.lstrip(".") or "the profile"
