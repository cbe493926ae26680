"""No setting is accepted and read by nobody.

A reading is `section.field` outside the settings, where `section` is what the code calls one: the
field of the profile that holds it (`people.backend`), `settings`, or a name of `CALLED`. It cannot
see whose `settings` are read where two sections have a field of one name, nor whether what is read
has an effect; for the latter see test_obeyed.py.
"""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import get_args

import pytest

import synpref_dagster
from synpref_dagster import settings
from synpref_dagster.settings.section import Section

PACKAGE = Path(synpref_dagster.__file__).parent
CALLED = {  # besides, or as what a section is handed over as a whole
    "JudgeEndpoint": "endpoint",
    "LoraSettings": "updates",
    "Profile": "profile",
    "SourceSettings": "spec",
    **dict.fromkeys(
        ("_Loss", "TemperatureLoss", "FocalLoss", "MarginLoss", "TemperedLogLoss"), "config"
    ),
}
# Read within the settings only, by what others call.
READ_BY = {
    **{
        ("EndpointEmbedding", name): "as_judge"
        for name in ("api_key_env", "max_attempts", "max_concurrency", "timeout_seconds")
    },
    ("ExportSettings", "trusted_hosts"): "refuse_leaving",
    ("JudgeSettings", "cache"): "cache_path",
    ("NearDuplicateSettings", "in_campaign"): "reports_left_out",
    # Says in words what `kind` decides, and is refused beside another kind.
    ("PoolSettings", "recorded_verdicts"): "kind",
    ("SourceSettings", "may_leave"): "staying",
}


def sections(parent=Section):
    for module in pkgutil.iter_modules(settings.__path__, f"{settings.__name__}."):
        importlib.import_module(module.name)
    for child in parent.__subclasses__():
        yield child
        yield from sections(child)


def held(annotation):
    """Names of the sections in a type."""
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return {annotation.__name__}
    return set().union(*map(held, get_args(annotation)))


def attributes_read():
    """(what is read from, attribute) of all code outside the settings."""
    read = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] == "settings":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
                read.add((owner.lstrip("_"), node.attr))
    return read


READ = attributes_read()
SECTIONS = set(sections())
OWN_FIELDS = sorted(
    {
        (section.__name__, name)
        for section in SECTIONS
        for name in section.model_fields
        if name in inspect.get_annotations(section)
    }
)


def names_of(section):
    """What the code calls a section, or one that inherits its fields."""
    kinds = {each.__name__ for each in SECTIONS if section in {c.__name__ for c in each.__mro__}}
    holders = {
        name
        for each in SECTIONS
        for name, field in each.model_fields.items()
        if held(field.annotation) & kinds
    }
    return {"settings", *holders, *(CALLED[kind] for kind in kinds if kind in CALLED)}


@pytest.mark.parametrize(("section", "name"), OWN_FIELDS, ids=map(".".join, OWN_FIELDS))
def test_every_setting_is_read_outside_the_settings(section, name):
    if (section, name) in READ_BY:
        assert READ_BY[section, name] in {attribute for _, attribute in READ}
    else:
        assert {(owner, name) for owner in names_of(section)} & READ


def test_the_exceptions_are_settings_and_needed():
    assert set(READ_BY) <= set(OWN_FIELDS)
    for section, name in READ_BY:
        assert not {(owner, name) for owner in names_of(section)} & READ
