"""A profile of an older version: settings that nobody obeyed were accepted, and are refused now."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synpref_dagster.cli.refusals import problems
from synpref_dagster.cli.upgrade.changes import Change
from synpref_dagster.settings.models import FIRST_FORM
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage.atomic import beside, put_in_place

UNOBEYED = re.compile(r"^(?:Value error, )?(\w+) is set, but .*nobody obeys it")
FOREIGN = re.compile(r"has no setting '(\w+)'")
Place = tuple[str | int, ...]


def profile_changes(name: str) -> list[Change]:
    """What a profile has to lose, so that it is one of this version.

    Args:
        name: a packaged profile, which never has, or the path of one.

    Raises:
        ValueError: there is no such profile, or it is no TOML.
    """
    if not name.endswith(".toml"):
        load_profile(name)
        return []
    if not Path(name).is_file():
        raise ValueError(f"profile file {name!r} does not exist")
    text, taken = Path(name).read_text(encoding="utf-8"), []
    while error := _refusal(name, text):
        place = next(_unobeyed(error), None)
        without = _line_taken_out(text, place) if place else None
        if place is None or without is None:
            said = "; ".join(line.strip() for line in problems(error))
            return [Change(place=name, says=f"correct by hand: {said}", is_hindrance=True)]
        text = without
        taken.append(".".join(map(str, place)))
    if not taken:
        return []
    return [
        Change(
            place=name,
            says=f"takes out {', '.join(taken)}: accepted once, and never obeyed",
            act=partial(_write, Path(name), text),
            copied=(Path(name),),
        )
    ]


def _refusal(name: str, text: str) -> ValidationError | None:
    try:
        load_profile(name, text=text)
    except ValidationError as error:
        return error
    return None


def _unobeyed(error: ValidationError) -> Iterator[Place]:
    """Settings that versions before this one accepted, and did not obey."""
    for each in error.errors(include_url=False):
        if (told := UNOBEYED.match(each["msg"])) or (
            (told := FOREIGN.search(each["msg"])) and told[1] in FIRST_FORM
        ):
            yield (*each["loc"], told[1])


def _line_taken_out(text: str, place: Place) -> str | None:
    """The text without the one line that sets something; None where that is no line of its own."""
    wanted: Any = tomllib.loads(text)
    table, key = wanted, str(place[-1])
    for part in place[:-1]:
        if isinstance(part, int) or part in table:  # else the name of a member of a union
            table = table[part]
    if key not in table:
        return None
    del table[key]
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
            without = "".join(lines[:number] + lines[number + 1 :])
            with suppress(tomllib.TOMLDecodeError):
                if tomllib.loads(without) == wanted:
                    return without
    return None


def _write(path: Path, text: str) -> None:
    part = beside(path)
    part.write_text(text, encoding="utf-8")
    put_in_place(part, path)
