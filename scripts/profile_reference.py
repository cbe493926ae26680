"""The page of every key of a profile, from the models: `profile_reference.py [--check]`.

Writes docs/profile_reference.md; with --check it only says whether the page is of these models.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from synpref_dagster.settings.profile import Profile
from synpref_dagster.settings.section import SET, Section

PAGE = Path(__file__).resolve().parent.parent / "docs" / "profile_reference.md"
TAGS = ("backend", "kind", "name")  # fields by which the members of a union are told apart
PAPER = re.compile(r"(?:Sec|App|Tab)\. ?[A-Z]?[\d.]*\d|App\. [A-Z](?:\.\d)?")
MAX_DEFAULT = 60  # characters
HEAD = """# Every key of a profile

Made from the models by `python scripts/profile_reference.py`; a test compares the two. A profile is
one TOML file: [own_data.md](own_data.md) shows a whole one, `synpref init` writes one. Unknown keys
are refused, and so are settings that nobody obeys beside the others. Paths start from the folder of
the file that states them, those of packaged profiles and of `SYNPREF_*` variables from the working
folder. Sections and appendices are those of the Skywork-Reward-V2 paper.
"""
UNITS = {
    "usd": "dollars", "hours": "hours", "seconds": "seconds", "tokens": "tokens",
    "pairs": "pairs", "steps": "steps", "words": "words", "share": "share", "mb": "MB",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """One table of a profile: where it stands, and the models that it may be."""

    place: str
    models: tuple[type[Section], ...]


def page() -> str:
    """The page as Markdown."""
    by_place = {}
    for table in tables():
        by_place.setdefault(table.place, table)
    return "\n".join([HEAD, *map(_of_table, by_place.values())])


def tables(model: type[Section] = Profile, place: str = "") -> Iterator[Table]:
    """Every table of a profile, the outer before the inner."""
    yield Table(place, (model,))
    for name, field in model.model_fields.items():
        below = _sections(field.annotation)
        if not below:
            continue
        here = f"{place}.{name}".lstrip(".")
        inner = f"[{here}]" if get_origin(field.annotation) is tuple else here
        if len(below) == 1:
            yield from tables(below[0], inner)
            continue
        yield Table(inner, below)
        for each in below:
            for table in tables(each, inner):
                if table.place != inner:
                    yield table


def _of_table(table: Table) -> str:
    title = _title(table.place)
    own: dict[str, list[type[Section]]] = {}
    for model in table.models:
        for name in model.model_fields:
            own.setdefault(name, []).append(model)
    about = _about(table)
    rows = [
        _row(name, owners, all_of=table.models)
        for name, owners in own.items()
        if not _sections(owners[0].model_fields[name].annotation)
    ]
    nested = [
        f"`{name}`"
        for name, owners in own.items()
        if _sections(owners[0].model_fields[name].annotation)
    ]
    head = "| key | default | values | meaning | paper |\n| --- | --- | --- | --- | --- |"
    more = f"\n\nTables of their own: {', '.join(nested)}." if nested and table.place else ""
    body = "\n".join([head, *rows]) if rows else ""
    return f"## {title}\n\n{about}\n\n{body}{more}\n".replace("\n\n\n\n", "\n\n")


def _title(place: str) -> str:
    if not place:
        return "The profile"
    row, _, inner = place.rpartition("].")
    return f"`[{row.lstrip('[')}.{inner}]`, in a row of its own" if row else f"`[{place}]`"


def _about(table: Table) -> str:
    said = [inspect.getdoc(model) or "" for model in table.models]
    first = [" ".join(text.split("\n\n")[0].split()) for text in said]
    if len(table.models) == 1:
        return first[0]
    tag = _tag(table.models[0])
    listed = [
        f"- `{tag} = {' or '.join(_shown(v) for v in _choices(model, tag))}`: {text}"
        for model, text in zip(table.models, first, strict=True)
    ]
    return "\n".join(listed)


def _row(name: str, owners: list[type[Section]], *, all_of: tuple[type[Section], ...]) -> str:
    model = owners[0]
    field = model.model_fields[name]
    tag = _tag(model)
    meaning = meaning_of(name, owners, all_of=all_of)
    if needs := _needs(model, name):
        meaning = f"{meaning} Only with {needs}."
    paper = PAPER.findall(meaning) or PAPER.findall(inspect.getdoc(model) or "")
    values = _values(name, field)
    if len(all_of) > 1 and name == tag:
        values = ", ".join(_shown(v) for each in all_of for v in _choices(each, tag))
    cells = (f"`{name}`", _default(field), values, _plain(meaning), ", ".join(paper[:1]))
    return f"| {' | '.join(cells)} |"


def meaning_of(name: str, owners: list[type[Section]], *, all_of: tuple[type[Section], ...]) -> str:
    """What a key means, in each of the models that have it."""
    tag = _tag(owners[0])
    by_text: dict[str, list[str]] = {}
    for each in owners:
        text = descriptions(each).get(name, "") or "Which settings there are." * (name == tag)
        by_text.setdefault(text, []).extend(map(str, _choices(each, tag)))
    if len(owners) == len(all_of) and len(by_text) == 1:
        return next(iter(by_text))
    told = [f"{text} For {', '.join(f'`{v}`' for v in of)}." for text, of in by_text.items()]
    return " ".join(told)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _needs(model: type[Section], name: str) -> str:
    needs = model.obeyed_where.get(name, {})
    told = [
        f"`{other}`" if values == SET else f"`{other} = {' or '.join(map(_shown, values))}`"
        for other, values in needs.items()
    ]
    return " or ".join(told)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return _shown(value) if value not in (None, (), {}, "") else ""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "_")
    return f'"{value}"' if isinstance(value, str) else str(value)


def _values(name: str, field: FieldInfo) -> str:
    kind = _kind(field.annotation, field.metadata)
    unit = next((UNITS[part] for part in reversed(name.split("_")) if part in UNITS), "")
    if unit and "number" in kind:
        kind = kind.replace("number", unit if unit != "share" else "share", 1)
    return kind


def _kind(annotation: Any, metadata: Any = ()) -> str:
    choices = _literals(annotation)
    if choices:
        listed = ", ".join(map(_shown, choices))
        is_many = get_origin(annotation) is tuple
        return f"list of {listed}" if is_many else listed
    origin, parts = get_origin(annotation), get_args(annotation)
    inner = [part for part in parts if part not in (NoneType, Ellipsis)]
    if NoneType in parts and len(inner) == 1:
        return _kind(inner[0], metadata)
    if origin is tuple:
        return f"list of {_kind(inner[0])}" if inner else "list"
    if origin is dict:
        return "table"
    if annotation is bool:
        return "true, false"
    if _is(annotation, str) or _is(annotation, (int, float)):
        known = {int: "number", float: "number", str: "text"}
        base = next(kind for each, kind in known.items() if _holds(annotation, each))
        return f"{base}{_bounds([*metadata, *_metadata(annotation)])}"
    if _holds(annotation, dict):
        return "table"
    return _kind(inner[0], metadata) if inner else "text"


def _is(annotation: Any, kinds: Any) -> bool:
    return any(
        _holds(annotation, each) for each in (kinds if isinstance(kinds, tuple) else (kinds,))
    )


def _holds(annotation: Any, kind: type) -> bool:
    if annotation is kind:
        return True
    return any(
        _holds(part, kind) for part in get_args(annotation) if isinstance(part, type | object)
    )


def _metadata(annotation: Any) -> list[Any]:
    found = list(getattr(annotation, "__metadata__", ()))
    for part in get_args(annotation):
        found += _metadata(part)
    return found


def _bounds(metadata: list[Any]) -> str:
    low = high = ""
    for each in [inner for one in metadata for inner in getattr(one, "metadata", [one])]:
        low = f"from {_shown(each.ge)}" if getattr(each, "ge", None) is not None else low
        low = f"above {_shown(each.gt)}" if getattr(each, "gt", None) is not None else low
        high = f"to {_shown(each.le)}" if getattr(each, "le", None) is not None else high
        high = f"below {_shown(each.lt)}" if getattr(each, "lt", None) is not None else high
    return f" {low} {high}".rstrip() if low or high else ""


def _literals(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    parts = [part for part in get_args(annotation) if part not in (NoneType, Ellipsis)]
    return _literals(parts[0]) if len(parts) == 1 else []


def _choices(model: type[Section], tag: str) -> list[Any]:
    return list(get_args(model.model_fields[tag].annotation)) if tag in model.model_fields else []


def _tag(model: type[Section]) -> str:
    return next(
        (
            name
            for name in TAGS
            if name in model.model_fields
            and get_origin(model.model_fields[name].annotation) is Literal
        ),
        "",
    )


def _sections(annotation: Any) -> tuple[type[Section], ...]:
    """The sections in a type."""
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return (annotation,)
    return tuple(dict.fromkeys(each for part in get_args(annotation) for each in _sections(part)))


def descriptions(model: type[Section]) -> dict[str, str]:
    """Field -> the text below it in the code, of a section and those that it is built on."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, Section) and owner is not Section:
            found |= _below_fields(owner)
    return found


def _below_fields(model: type[Section]) -> dict[str, str]:
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            found[field.target.id] = inspect.cleandoc(str(text.value.value))  # type: ignore[attr-defined]
    return found


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    made = page()
    if arguments == ["--check"]:
        is_same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
        print("the page is of these models" if is_same else f"write {PAGE.name} anew")
        return 0 if is_same else 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
