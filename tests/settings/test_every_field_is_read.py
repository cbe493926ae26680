"""No setting is accepted and read by nobody."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import synpref_dagster
from synpref_dagster import settings
from synpref_dagster.settings.section import Section

PACKAGE = Path(synpref_dagster.__file__).parent
# Read within the settings only, by what others call.
READ_BY = {
    ("HubSettings", "backbone"): "given_backbone",
    ("HubReleaseSettings", "backbones"): "given_backbone",
    ("NearDuplicateSettings", "in_campaign"): "reports_left_out",
}


def sections(parent=Section):
    for module in pkgutil.iter_modules(settings.__path__, f"{settings.__name__}."):
        importlib.import_module(module.name)
    for child in parent.__subclasses__():
        yield child
        yield from sections(child)


def attributes_read():
    read = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] == "settings":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
    return read


READ = attributes_read()
OWN_FIELDS = sorted(
    {
        (section.__name__, name)
        for section in sections()
        for name in section.model_fields
        if name in inspect.get_annotations(section)
    }
)


@pytest.mark.parametrize(("section", "name"), OWN_FIELDS, ids=map(".".join, OWN_FIELDS))
def test_every_setting_is_read_outside_the_settings(section, name):
    assert READ_BY.get((section, name), name) in READ


def test_the_exceptions_are_settings_and_needed():
    assert set(READ_BY) <= set(OWN_FIELDS)
    assert not {name for _, name in READ_BY} & READ
