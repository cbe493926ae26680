"""What the recipe of box 1 names is there, under that name."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import synpref_dagster
from synpref_dagster.curation import pool

RECIPE = pool.__doc__ or ""
NAMES = sorted(
    name
    for name in re.findall(r"\b[a-z_]+(?:\.[A-Za-z_]+)+\b", re.sub(r"`[^`]*`", "", RECIPE))
    if not name.endswith(".py")
)
PATHS = sorted(set(re.findall(r"`(\w+(?:/\w+)+(?:/|\.py))`", RECIPE)))


@pytest.mark.parametrize("name", NAMES)
def test_every_function_of_the_recipe_is_there(name):
    module, _, last = name.rpartition(".")
    below_curation = module.split(".")[0] in ("pool", "contamination", "personal_data")
    place = f"synpref_dagster.curation.{module}" if below_curation else f"synpref_dagster.{module}"
    try:
        found = import_module(place)
    except ModuleNotFoundError:  # A method: what stands before it is a class of a module.
        before, _, owner = place.rpartition(".")
        found = getattr(import_module(before), owner)
    assert callable(getattr(found, last))


@pytest.mark.parametrize("path", PATHS)
def test_every_file_of_the_recipe_is_there(path):
    [root] = synpref_dagster.__path__
    assert (Path(root) / path).exists()


def test_the_recipe_names_functions_and_files():
    assert len(NAMES) > 20
    assert len(PATHS) > 4
