"""The licence of a folder is what files beside or above it name, or unknown."""

import pytest

from synpref_dagster.sources.survey.licence_files import is_about_data, licence_of, says_of_itself

MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person ..."
APACHE = "                Apache License\n           Version 2.0, January 2004\n"
CC = "Attribution 4.0 International\n\n=====\nCreative Commons Corporation is not a law firm"
CC_NC = "Attribution-NonCommercial-ShareAlike 4.0 International\n"
GPL = "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007\n"


def licence(folder, **files):
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return licence_of(folder, folder)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT, "MIT"),
        (APACHE, "Apache-2.0"),
        (CC, "CC-BY-4.0"),
        (CC_NC, "CC-BY-NC-SA-4.0"),
        (GPL, "GPL-3.0"),
        ("The data are released under CC BY-NC 4.0.", "CC-BY-NC-4.0"),
        ("All rights reserved.", "unknown"),
    ],
)
def test_the_text_of_a_licence_says_which_it_is(tmp_path, text, name):
    assert licence(tmp_path, LICENSE=text).name == name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("---\nlicense: cc-by-nc-4.0\n---\n# Data", "CC-BY-NC-4.0"),
        ("---\nlicense:\n- mit\n---\n", "MIT"),
        ("Licence: Apache-2.0 (both repositories).", "Apache-2.0"),
        ("**License:** ODC-BY", "ODC-BY"),
        ("## License\n\nMIT, see the file.", "MIT"),
        ("Licence: none named", "unknown"),
        ("We thank MIT and Apache 2.0 for nothing.", "unknown"),
    ],
)
def test_a_line_of_a_readme_names_a_licence_only_where_it_says_that_it_does(tmp_path, line, name):
    assert licence(tmp_path, README__md=line).name == name


def test_files_that_name_the_same_are_all_named(tmp_path):
    found = licence(tmp_path, LICENSE=MIT, SOURCE__md="Licence: MIT (repo LICENSE)")
    assert (found.name, found.said_by) == ("MIT", "LICENSE, SOURCE.md")


def test_a_source_file_may_also_name_the_licence_of_code_that_is_not_there(tmp_path):
    source = "Licence: CC BY 4.0 for the data; repo code GPL-3 (not taken)."
    assert licence(tmp_path, LICENSE=CC, SOURCE__md=source).name == "CC-BY-4.0"


@pytest.mark.parametrize(
    "files",
    [
        {"LICENSE": MIT, "README__md": "license: cc-by-nc-4.0"},
        {"SOURCE": "Licence: MIT for some, Apache-2.0 for others"},
    ],
)
def test_licences_that_differ_are_unknown_and_both_are_told(tmp_path, files):
    found = licence(tmp_path, **files)
    assert found.name == "unknown"
    assert "MIT" in found.said_by
    assert "not one and the same" in found.said_by


def test_a_folder_without_files_about_it_has_the_licence_of_the_one_around_it(tmp_path):
    inner = tmp_path / "data" / "train"
    inner.mkdir(parents=True)
    (tmp_path / "LICENSE").write_text(MIT)
    assert licence_of(inner, tmp_path).name == "MIT"
    assert licence_of(inner, tmp_path / "data").name == "unknown"
    (tmp_path / "data" / "LICENSE").write_text(APACHE)
    assert licence_of(inner, tmp_path).name == "Apache-2.0"
    assert (says_of_itself(inner), says_of_itself(tmp_path)) == (False, True)


def test_names_tell_files_about_data_from_data():
    assert all(map(is_about_data, ("LICENSE", "LICENSE.CC-BY", "SOURCE", "readme.txt")))
    assert not any(map(is_about_data, ("source.jsonl", "sources.csv", "licence.jsonl.gz")))
