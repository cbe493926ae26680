"""docs/profile_reference.md has every key of a profile, as the models say it now."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "profile_reference.py"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("profile_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_of_these_models(reference):
    said = "run `python scripts/profile_reference.py`, and look at what changed"
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), said


def test_every_key_has_a_meaning(reference):
    silent = [
        f"{table.place}.{name}"
        for table in reference.tables()
        for model in table.models
        for name, field in model.model_fields.items()
        if not reference._sections(field.annotation)
        and not reference.meaning_of(name, [model], all_of=(model,))
    ]
    assert silent == []


def test_default_bounds_meaning_and_paper_stand_in_a_row(reference):
    lines = reference.page().splitlines()
    place = lines.index("## `[iterations]`")
    row = next(line for line in lines[place:] if line.startswith("| `low_margin`"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["`low_margin`", "0.05", "number from 0 to 0.5"]
    assert cells[3].startswith("A pair is risky")
    assert cells[4] == "Sec. 3.2"
