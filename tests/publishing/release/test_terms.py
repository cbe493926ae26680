"""Terms that travel with an export: every source named, silence said aloud, refusal on request."""

import json

import pytest

from synpref_dagster.publishing.release.terms import (
    LOADING_DATA,
    LOADING_MODEL,
    SOURCES_FILE,
    check_licences,
    check_release,
    terms_files,
)


def source(name, licence, **changes):
    return {
        "name": name,
        "licence": licence,
        "place": f"local file {name}.jsonl",
        "origin": "human",
        "hub_id": None,
        "revision": None,
        "citation": "",
        "num_train": 1200,
        "num_validation": 34,
        **changes,
    }


OPEN = source("open", "CC BY 4.0", citation="Lee and Ray (2020), Open pairs.")
SILENT = source(
    "silent",
    "unknown",
    hub_id="Anthropic/hh-rlhf",
    revision="abc",
    place="https://huggingface.co/datasets/Anthropic/hh-rlhf at abc",
)
CLOSED = source("closed", "CC-BY-NC-4.0", num_train=5, num_validation=0)
UNUSED = source("unused", "none named", num_train=0, num_validation=0)
SOURCES = [OPEN, SILENT, CLOSED, UNUSED]


@pytest.fixture
def files():
    return terms_files(SOURCES, loading=LOADING_DATA, subject="Pairs of others, new labels.")


def test_all_four_files_name_every_source_that_is_in_the_export(files):
    assert tuple(files) == ("LICENSE.md", "ATTRIBUTION.md", "USAGE.md", "sources.json")
    for name in ("LICENSE.md", "ATTRIBUTION.md", SOURCES_FILE):
        for each in (OPEN, SILENT, CLOSED):
            assert each["name"] in files[name], name
        assert "unused" not in files[name]


def test_a_licence_that_nobody_named_is_unknown_and_never_guessed(files):
    [row] = [line for line in files["LICENSE.md"].splitlines() if line.startswith("| silent")]
    assert "| unknown here; our table of public sets has MIT |" in row
    assert "**unknown**" in files["LICENSE.md"]
    assert "silent (1,234 pairs)" in files["USAGE.md"]
    [record] = [each for each in json.loads(files[SOURCES_FILE]) if each["name"] == "silent"]
    assert record["licence"] == "unknown"
    assert record["licence_in_table_of_public_sets"] == "MIT"
    assert record["restrictions"] == ["unknown"]


def test_restrictions_are_spelled_out_with_the_sources_they_come_from(files):
    [line] = [each for each in files["USAGE.md"].splitlines() if "non-commercial" in each]
    assert line.endswith("Sources: closed (5 pairs).")
    assert "no commercial use" in line


def test_open_sources_ask_for_no_more_than_attribution():
    files = terms_files([OPEN], loading=LOADING_MODEL, subject="A model.")
    assert "No licence named here limits the use beyond attribution" in files["USAGE.md"]
    assert "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)" in files["LICENSE.md"]
    assert files["LICENSE.md"].startswith("# Licence\n\nA model.\n")


def test_a_source_is_cited_as_its_authors_ask_or_by_its_place(files):
    assert (
        "- **open**: Lee and Ray (2020), Open pairs.; local file open.jsonl"
        in (files["ATTRIBUTION.md"])
    )
    assert (
        "- **silent**: https://huggingface.co/datasets/Anthropic/hh-rlhf at abc; licence"
        in (files["ATTRIBUTION.md"])
    )


def test_sources_json_has_what_a_machine_needs(files):
    records = {each["name"]: each for each in json.loads(files[SOURCES_FILE])}
    assert records["closed"]["restrictions"] == ["non-commercial"]
    assert records["closed"]["num_train"] == 5
    assert records["open"]["licence_url"] == "https://creativecommons.org/licenses/by/4.0/"
    assert records["silent"]["revision"] == "abc"


def test_without_a_list_anything_is_exported():
    check_licences(SOURCES, None)


def test_a_list_refuses_sources_with_pairs_and_says_what_to_do():
    check_licences(SOURCES, ["CC-BY-4.0", "cc-by-nc-4.0", "Unknown"])
    with pytest.raises(ValueError, match=r"silent \(unknown, 1,234 pairs\)") as refused:
        check_licences(SOURCES, ["CC BY 4.0", "CC-BY-NC-4.0"])
    assert "closed" not in str(refused.value)
    assert "unused" not in str(refused.value)
    assert "pool.sources" in str(refused.value)


def test_a_folder_written_earlier_is_held_to_the_list_of_today(files, tmp_path):
    check_release(tmp_path, None)
    with pytest.raises(ValueError, match="materialise it again"):
        check_release(tmp_path, ["MIT"])
    (tmp_path / SOURCES_FILE).write_text(files[SOURCES_FILE])
    check_release(tmp_path, ["CC BY 4.0", "CC-BY-NC-4.0", "unknown"])
    with pytest.raises(ValueError, match="closed"):
        check_release(tmp_path, ["CC BY 4.0", "unknown"])
